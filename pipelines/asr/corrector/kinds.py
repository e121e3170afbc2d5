"""The kinds of text correctors, and which of them a checkpoint holds.

own               a small network: seconds to train, any script
transmorgrifier   SentenceTransmorgrifier's trees: a minute, scripts of up to 255 characters, needs CatBoost
best              both are trained, and the one that does better on held-out verses stays
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pipelines.asr.corrector.corrector import Corrector, Pair
from pipelines.asr.corrector.tree_corrector import TreeCorrector

logger = logging.getLogger(__name__)


class CorrectorKind(StrEnum):
    """An operator's choice."""

    OWN = "own"
    TRANSMORGRIFIER = "transmorgrifier"
    BEST = "best"


class TextCorrector(Protocol):
    """Turns heard texts into written ones."""

    def correct(self, texts: Sequence[str]) -> list[str]:
        """Correct each text; an empty one stays empty."""

    def save(self, directory: Path) -> None:
        """Write it into a checkpoint."""


Learner = Callable[[Sequence[Pair]], TextCorrector | None]
"""Trains one kind on pairs; None where it cannot learn from them."""

OWN: Mapping[CorrectorKind, Learner] = {CorrectorKind.OWN: Corrector.trained}
_TREES: Mapping[CorrectorKind, Learner] = {CorrectorKind.TRANSMORGRIFIER: TreeCorrector.trained}


def learners(kind: CorrectorKind) -> Mapping[CorrectorKind, Learner]:
    """What to train; where CatBoost is missing, our own."""
    if kind is CorrectorKind.OWN:
        return OWN
    if importlib.util.find_spec("catboost") is None:
        logger.warning("CatBoost is not installed; training the text corrector of our own")
        return OWN
    return _TREES if kind is CorrectorKind.TRANSMORGRIFIER else {**OWN, **_TREES}


def load_corrector(directory: Path) -> TextCorrector | None:
    """Read a checkpoint's corrector, of whichever kind, if it has one.

    Raises:
        BadCheckpoint: it is damaged.
    """
    return Corrector.load(directory) or TreeCorrector.load(directory)
