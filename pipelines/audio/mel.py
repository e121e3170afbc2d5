"""The mel filter bank that several published models were trained with.

Knows frequencies only; what a model does before and after (window, power, logarithm) is its own.

Axes: m mel bands · k linear frequency bins.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor


@cache
def slaney_filters(n_mels: int, n_fft: int, sample_rate_hz: int) -> Tensor:
    """Return `(m, k)`: `n_mels` triangles from 0 to half the rate, each of area one over its width.

    Equal to `librosa.filters.mel` with its defaults.
    """
    top = _hz_to_mel(sample_rate_hz / 2)
    edges = _mel_to_hz(torch.linspace(0.0, top, n_mels + 2, dtype=torch.float64))
    bins = torch.linspace(0.0, sample_rate_hz / 2, n_fft // 2 + 1, dtype=torch.float64)
    widths = edges.diff()
    slopes = edges[:, None] - bins  # (m + 2, k)
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).float()


# Slaney's scale (Auditory Toolbox): linear below 1 kHz, logarithmic above.
_LINEAR_MELS_PER_HZ = 3 / 200
_BREAK_HZ = 1_000.0
_BREAK_MEL = _BREAK_HZ * _LINEAR_MELS_PER_HZ
_LOG_STEP = math.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz * _LINEAR_MELS_PER_HZ
    return _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP


def _mel_to_hz(mel: Tensor) -> Tensor:
    logarithmic = _BREAK_HZ * torch.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return torch.where(mel < _BREAK_MEL, mel / _LINEAR_MELS_PER_HZ, logarithmic)
