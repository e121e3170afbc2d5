"""Waveform → natural-log mel spectrogram, exactly as the published weights expect it.

Needs torch only. Knows no files; resampling is in resample.py.

Axes: b batch · s samples · k linear frequency bins · m mel bands · t frames.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.audio.mel import slaney_filters
from pipelines.tts.stabletts.config import (
    HOP_LENGTH,
    MEL_FLOOR,
    MEL_PADDING,
    N_FFT,
    N_MELS,
    SAMPLE_RATE,
)

GROUPS = 8  # of mel bands that are computed together
MIN_SAMPLES = MEL_PADDING + 1  # reflection needs more samples than it adds
POWER_EPSILON = 1e-6  # keeps the gradient of the root finite; silence comes out near −10


def log_mel(waveform: Tensor, n_mels: int = N_MELS) -> Tensor:
    """Analyse `waveform (s)` or `(b, s)`, −1…1 at 44.1 kHz, as `(m, t)` or `(b, m, t)`.

    Raises:
        ValueError: The waveform is too short to be padded by reflection.
    """
    magnitude = linear_magnitude(waveform)
    mel = [
        filters.to(waveform.device) @ magnitude[..., first : first + filters.shape[1], :]
        for first, filters in _narrow_filters(n_mels)
    ]
    return torch.cat(mel, dim=-2).clamp_(min=MEL_FLOOR).log_()


def linear_magnitude(waveform: Tensor) -> Tensor:
    """Return amplitudes per frequency bin: `(s)` → `(k, t)`, or batched."""
    if waveform.shape[-1] < MIN_SAMPLES:
        raise ValueError(f"expected at least {MIN_SAMPLES} samples, got {waveform.shape[-1]}")
    batched = waveform.reshape(-1, waveform.shape[-1])
    padded = F.pad(batched, (MEL_PADDING, MEL_PADDING), mode="reflect")
    window = torch.hann_window(N_FFT, device=waveform.device)
    spectrum = torch.fft.rfft(padded.unfold(1, N_FFT, HOP_LENGTH) * window)  # (b, t, k)
    power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
    magnitude: Tensor = power.add_(POWER_EPSILON).sqrt_().transpose(1, 2)
    return magnitude.reshape(*waveform.shape[:-1], *magnitude.shape[1:])


def mel_filters(n_mels: int) -> Tensor:
    """Return the triangular filter bank `(m, k)` of this front end."""
    return slaney_filters(n_mels, N_FFT, SAMPLE_RATE)


@cache
def _narrow_filters(n_mels: int) -> tuple[tuple[int, Tensor], ...]:
    """Cut the bank into groups of bands, each with its first bin and the few bins that it hears.

    Most of the whole bank is zeros, which take as long to multiply as numbers do.
    """
    groups = []
    for bands in mel_filters(n_mels).chunk(GROUPS):
        heard = bands.any(dim=0).nonzero().flatten()
        first, last = int(heard[0]), int(heard[-1])
        groups.append((first, bands[:, first : last + 1].contiguous()))
    return tuple(groups)
