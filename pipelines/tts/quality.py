"""Does a spoken verse sound like speech of its text? Checks that need no ears and no other model.

Knows no voice. Each problem completes the sentence "… was left out:".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.audio.decode import Samples
from pipelines.audio.silence import BELOW_PEAK_DB, FLOOR_DB, FRAME_S, is_silent, levels_db

Mel = NDArray[np.float32]
"""Natural-log mel, shape (bands, frames)."""

SLOWEST, FASTEST = 2.0, 45.0
"""Symbols per second that some language may have, where the voice's own pace is not known."""
PACE_FACTOR = 3.0
"""How much faster or slower than its recordings a voice may speak."""
GRACE_S = 0.5
"""Very short texts vary more than a factor says."""
LONGEST_PAUSE_S = 2.0
NEAR_PEAK, FLAT = 0.99, 1e-4
"""Clipping shows as flat tops: samples near the peak that equal their neighbour, relative to the peak.
How loud they are says nothing, as sound is levelled afterwards."""
MAX_CLIPPED_SHARE = 0.001
LOOP_S = (0.06, 2.5)
"""Lengths of what a stuck voice says over and over; the shortest stands for a held tone."""
LOOPED_S = 1.5
"""Repeated for this long, it is not speech."""
_DB_PER_NEPER = 8.686
SAME = 0.97
"""Correlation of frames that count as the same; a speaker who says a word twice stays below."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One rendering of a text."""

    samples: Samples
    sample_rate_hz: int
    mel: Mel
    symbols: int
    symbols_per_s: float | None = None
    """Pace of the voice's recordings."""

    @property
    def duration_s(self) -> float:
        """How long it takes."""
        return len(self.samples) / self.sample_rate_hz


def problems(attempt: Attempt) -> tuple[str, ...]:
    """Return everything that is wrong with a rendering; nothing for a good one."""
    if is_silent(attempt.samples, attempt.sample_rate_hz):
        return ("nothing can be heard",)
    found = (_pause(attempt), _clipping(attempt), _pace(attempt), _loop(attempt))
    return tuple(problem for problem in found if problem)


def _pause(attempt: Attempt) -> str | None:
    levels = levels_db(attempt.samples, attempt.sample_rate_hz)
    audible = np.flatnonzero(levels >= max(float(levels.max()) - BELOW_PEAK_DB, FLOOR_DB))
    longest_s = float(np.diff(audible, prepend=audible[0]).max()) * FRAME_S
    return f"it falls silent for {longest_s:.1f} s" if longest_s > LONGEST_PAUSE_S else None


def _clipping(attempt: Attempt) -> str | None:
    height = np.abs(attempt.samples) / np.abs(attempt.samples).max()
    flat = (height[1:] >= NEAR_PEAK) & (np.abs(np.diff(height)) < FLAT)
    share = float(flat.mean())
    return f"{share:.1%} of it is distorted" if share > MAX_CLIPPED_SHARE else None


def _pace(attempt: Attempt) -> str | None:
    if attempt.symbols_per_s:
        slowest, fastest = (
            attempt.symbols_per_s / PACE_FACTOR,
            attempt.symbols_per_s * PACE_FACTOR,
        )
    else:
        slowest, fastest = SLOWEST, FASTEST
    duration_s = attempt.duration_s
    if duration_s < attempt.symbols / fastest - GRACE_S:
        return f"{duration_s:.1f} s are too short for its text"
    if duration_s > attempt.symbols / slowest + GRACE_S:
        return f"{duration_s:.1f} s are too long for its text"
    return None


def _loop(attempt: Attempt) -> str | None:
    """Tell a held tone or a loop: long stretches that equal themselves a little later."""
    mel = attempt.mel
    frames = mel.shape[1]
    frame_s = attempt.duration_s / frames if frames else 1.0
    loudest = mel.max(axis=0, initial=-np.inf)
    shape = mel - mel.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(shape, axis=0)
    unit = shape / np.maximum(norm, 1e-6)
    heard = loudest >= loudest.max(initial=-np.inf) - BELOW_PEAK_DB / _DB_PER_NEPER
    shortest, longest = (max(1, round(bound / frame_s)) for bound in LOOP_S)
    needed = round(LOOPED_S / frame_s)
    for lag in range(shortest, min(longest, frames - needed) + 1):
        alike = (unit[:, :-lag] * unit[:, lag:]).sum(axis=0)
        same = (alike >= SAME) & heard[:-lag] & heard[lag:]
        if _longest_run(same) >= max(needed, 2 * lag):
            return f"it repeats the same {lag * frame_s:.1f} s over and over"
    return None


def _longest_run(flags: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
