"""What every training is told, whatever it trains: how long, how carefully, in which portions.

A model family's configuration is a `Recipe` with its own settings added; the loop reads nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Plain values, saved inside every checkpoint."""

    epochs: int
    clip_norm: float = 1.0
    warmup_fraction: float = 0.1
    """Share of the run in which the rate rises to its peak."""
    batch_s: float = 48.0
    """Seconds of padded audio in one batch; bounds memory."""
    accumulate: int = 1
    """Batches to one optimiser step."""
    patience: int | None = None
    """Evaluations without improvement before stopping; None never stops early."""
    evaluate_every_epochs: int = 1
    checkpoint_every_epochs: int = 1
    checkpoint_every_s: float = 900.0
    validation_fraction: float = 0.05
    min_validation_clips: int = 10
    """A smaller held-out part says nothing: with fewer, none is held out."""
    precision: str = "auto"
    seed: int = 0

    def for_team(self, size: int) -> Self:
        """Give each of `size` processes the same number of batches in every step."""
        return replace(self, accumulate=-(-self.accumulate // size) * size)
