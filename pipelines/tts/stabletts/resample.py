"""Change the sample rate of a waveform with a windowed sinc, on whatever device it lies.

The filter is the common Hann-windowed sinc with six zero crossings, so features equal those of the original
recipe. Knows no files.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

ZERO_CROSSINGS = 6
ROLLOFF = 0.99  # cut-off as a share of the lower Nyquist frequency


def resample(waveform: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Resample `waveform (…, s)` to `(…, ceil(s · target / source))` samples."""
    if source_rate == target_rate:
        return waveform
    common = math.gcd(source_rate, target_rate)
    old, new = source_rate // common, target_rate // common
    kernel, reach = _kernel(old, new)
    samples = waveform.shape[-1]
    padded = F.pad(waveform.reshape(-1, 1, samples), (reach, reach + old))
    phases = F.conv1d(padded, kernel.to(waveform.device), stride=old)  # (rows, new, blocks)
    length = math.ceil(new * samples / old)
    return phases.transpose(1, 2).reshape(*waveform.shape[:-1], -1)[..., :length]


@lru_cache(maxsize=16)
def _kernel(old: int, new: int) -> tuple[Tensor, int]:
    """Return one filter per output phase, `(new, 1, taps)`, and the samples it reaches back."""
    base = min(old, new) * ROLLOFF
    reach = math.ceil(ZERO_CROSSINGS * old / base)
    taps = torch.arange(-reach, reach + old, dtype=torch.float64) / old
    phases = torch.arange(new, dtype=torch.float64)[:, None] / new
    t = ((taps - phases) * base).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = torch.cos(t * math.pi / ZERO_CROSSINGS / 2).square()
    kernel = torch.sinc(t) * window * (base / old)
    return kernel.float().unsqueeze(1), reach
