"""Directories that are complete or not there: how training states and models reach the disk.

    step-00001234.part-x3f/      being written; a crash leaves only this, and nobody loads it
    step-00001234/               renamed into place after every byte is on the disk
        manifest.json            SHA-256 and size of every other file, written last

Knows no model: a caller writes the files. The loader takes the newest directory whose manifest
verifies, so a damaged newest one costs some steps instead of the run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipelines.errors import PipelineError

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_BLOCK_BYTES = 1 << 20


class CheckpointStore:
    """Checkpoints of one kind ("step", "best") in one directory, by step number."""

    def __init__(self, directory: Path, kind: str, *, keep: int) -> None:
        """Keep the newest `keep` verified ones."""
        self._directory = directory
        self._kind = kind
        self._keep = keep
        directory.mkdir(parents=True, exist_ok=True)

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Let `write` fill a directory, make it durable, then give it its name.

        Raises:
            PipelineError: the disk has no room for two more of its kind.
        """
        self._check_space()
        final = self._directory / f"{self._kind}-{step:08d}"
        part = Path(tempfile.mkdtemp(prefix=f"{final.name}.part-", dir=self._directory))
        try:
            write(part)
            _seal(part)
            if final.exists():
                shutil.rmtree(final)
            part.replace(final)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        _sync(self._directory)
        self._prune(final)
        return final

    def latest(self) -> Path | None:
        """The newest directory that verifies; damaged ones are passed over and named in the log."""
        for path in self._newest_first():
            if is_intact(path):
                return path
            logger.warning("passed over damaged checkpoint %s", path.name)
        return None

    def clear(self) -> None:
        """Delete all of them."""
        for path in self._newest_first():
            shutil.rmtree(path)

    def _newest_first(self) -> list[Path]:
        pattern = re.compile(rf"{re.escape(self._kind)}-(\d+)")
        numbered = (
            (int(match[1]), path)
            for path in self._directory.iterdir()
            if (match := pattern.fullmatch(path.name))
        )
        return [path for _, path in sorted(numbered, reverse=True)]

    def _prune(self, newest: Path) -> None:
        """Delete all but the newest ones; called only when a good one has just been written."""
        others = [path for path in self._newest_first() if path != newest]
        for path in others[self._keep - 1 :]:
            shutil.rmtree(path)

    def _check_space(self) -> None:
        existing = self._newest_first()
        if not existing:
            return
        size = sum(file.stat().st_size for file in existing[0].rglob("*") if file.is_file())
        free = shutil.disk_usage(self._directory).free
        if free < 2 * size:
            raise PipelineError(
                f"The worker's disk is full: a checkpoint needs {2 * size >> 20} MiB, "
                f"{free >> 20} MiB are free."
            )


def is_intact(directory: Path) -> bool:
    """Whether every file is there as its manifest says, and nothing else."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text("utf-8"))
        expected = dict(manifest["files"])
        present = {
            path.relative_to(directory).as_posix()
            for path in directory.rglob("*")
            if path.is_file() and path.name != MANIFEST
        }
        return present == expected.keys() and all(
            _digest(directory / name) == digest for name, digest in expected.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _seal(directory: Path) -> None:
    """Write the manifest last, with every file on the disk before it."""
    digests = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            digests[path.relative_to(directory).as_posix()] = _digest(path)
            _sync(path)
    manifest = directory / MANIFEST
    manifest.write_text(json.dumps({"files": digests}, indent=1), "utf-8")
    _sync(manifest)
    _sync(directory)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
