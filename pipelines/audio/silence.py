"""Where a recording is quiet: trimming its ends, and cutting long ones at pauses.

Works on the loudness of short frames; knows no words and no voices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.audio.decode import Samples

FRAME_S = 0.02
KEPT_S = 0.15
"""Silence left at either end, so that soft first and last sounds survive."""
BELOW_PEAK_DB = 40.0
"""A frame this much quieter than the loudest one counts as silent …"""
FLOOR_DB = -60.0
"""… and one below this level counts as silent in any recording (0 dB is full scale)."""


def levels_db(samples: Samples, sample_rate_hz: int) -> NDArray[np.float32]:
    """Loudness of each frame of `FRAME_S`, in dB of full scale, shape (frames)."""
    size = max(1, round(FRAME_S * sample_rate_hz))
    padded = np.pad(samples, (0, -len(samples) % size))
    power = (padded.reshape(-1, size).astype(np.float64) ** 2).mean(axis=1)
    levels: NDArray[np.float32] = (10.0 * np.log10(power + 1e-12)).astype(np.float32)
    return levels


def is_silent(samples: Samples, sample_rate_hz: int) -> bool:
    """Whether nothing in the recording is louder than the floor."""
    return len(samples) == 0 or bool(levels_db(samples, sample_rate_hz).max() < FLOOR_DB)


def loud_share(samples: Samples, sample_rate_hz: int) -> float:
    """Share of the recording that is not silent, 0…1."""
    levels = levels_db(samples, sample_rate_hz)
    return float((levels >= _threshold_db(levels)).mean()) if len(levels) else 0.0


def trim(samples: Samples, sample_rate_hz: int) -> Samples:
    """Cut silence from both ends, leaving `KEPT_S`; a silent recording becomes empty."""
    if is_silent(samples, sample_rate_hz):
        return samples[:0]
    levels = levels_db(samples, sample_rate_hz)
    loud = np.flatnonzero(levels >= _threshold_db(levels))
    frame = round(FRAME_S * sample_rate_hz)
    kept = round(KEPT_S * sample_rate_hz)
    start = max(0, int(loud[0]) * frame - kept)
    end = min(len(samples), (int(loud[-1]) + 1) * frame + kept)
    return samples[start:end]


def _threshold_db(levels: NDArray[np.float32]) -> float:
    return max(float(levels.max()) - BELOW_PEAK_DB, FLOOR_DB)


def pauses(samples: Samples, sample_rate_hz: int, longest_s: float) -> list[int]:
    """Where to cut a recording, in samples, so that no piece is longer than `longest_s`.

    A cut is in the quietest fifth of a second of a piece's last third, so no piece is very short.
    """
    longest = round(longest_s * sample_rate_hz)
    cuts: list[int] = []
    start = 0
    while len(samples) - start > longest:
        begin = start + longest * 2 // 3
        start = begin + _quietest(samples[begin : start + longest], sample_rate_hz)
        cuts.append(start)
    return cuts


def _quietest(samples: Samples, sample_rate_hz: int) -> int:
    """Middle of the quietest fifth of a second, in samples from the start."""
    levels = levels_db(samples, sample_rate_hz)
    width = min(len(levels), round(0.2 / FRAME_S))
    smooth = np.convolve(levels, np.ones(width) / width, mode="valid")
    frame = round(FRAME_S * sample_rate_hz)
    return min(len(samples), int((int(smooth.argmin()) + width / 2) * frame))
