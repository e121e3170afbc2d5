"""Whether an interrupted training may go on: only with what it was begun with."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.training.checkpoint import CheckpointStore
from pipelines.training.loop import BEST, METRICS_CSV, STATE

logger = logging.getLogger(__name__)

FILE_NAME = "fingerprint"
_HOW_MUCH_AT_ONCE = frozenset({"batch_s", "accumulate", "gradient_checkpointing"})


def begin_afresh_if_changed(home: Path, facts: Sequence[object]) -> None:
    """Forget a saved state that belongs to other recordings, texts or settings; half a run of each is neither.

    Args:
        home: where the training keeps its state; a new one is marked.
        facts: plain values that decide what is learned.
    """
    fingerprint = hashlib.sha256(json.dumps(list(facts)).encode()).hexdigest()
    path = home / FILE_NAME
    if path.exists() and path.read_text("ascii") != fingerprint:
        logger.warning(
            "recordings, texts or settings have changed since this training was interrupted; "
            "it starts from the beginning"
        )
        for kind in (STATE, BEST):
            CheckpointStore(home, kind, keep=1).clear()
        (home / METRICS_CSV).unlink(missing_ok=True)
    path.write_text(fingerprint, "ascii")


def what_is_learned(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's settings without those that only say how much memory it takes.

    Half the batch, with the gradients of twice as many added up, is the same training to the optimiser.
    """
    learned = {name: value for name, value in config.items() if name not in _HOW_MUCH_AT_ONCE}
    return learned | {"step_s": round(config["batch_s"] * config["accumulate"], 6)}
