"""A batch's folder for what comes and goes: fetched recordings, and what stages leave each other."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_of(state_path: Path, shared: Path | None) -> Iterator[Path]:
    """An empty folder inside the block, nothing after it.

    Its name is fixed, so that what a killed run left is found and removed.

    Args:
        state_path: of the batch; the folder lies beside it.
        shared: where it lies instead, since other machines need it; None if they do not.
    """
    scratch = state_path.with_name(f".{state_path.stem}.scratch")
    if shared is not None:
        whose = hashlib.sha256(str(state_path.resolve()).encode()).hexdigest()[:8]
        scratch = shared.resolve() / f".{state_path.stem}-{whose}.scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
