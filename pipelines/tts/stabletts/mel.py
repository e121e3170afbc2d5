"""Waveform → natural-log mel spectrogram, exactly as the published weights expect it.

Needs torch only. Knows no files; resampling is in resample.py.

Axes: b batch · s samples · k linear frequency bins · m mel bands · t frames.
"""

from __future__ import annotations

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

MIN_SAMPLES = MEL_PADDING + 1  # reflection needs more samples than it adds
POWER_EPSILON = 1e-6  # keeps the gradient of the root finite; silence comes out near −10


def log_mel(waveform: Tensor, n_mels: int = N_MELS) -> Tensor:
    """Analyse `waveform (s)` or `(b, s)`, −1…1 at 44.1 kHz, as `(m, t)` or `(b, m, t)`.

    Raises:
        ValueError: The waveform is too short to be padded by reflection.
    """
    mel = mel_filters(n_mels).to(waveform.device) @ linear_magnitude(waveform)
    return mel.clamp(min=MEL_FLOOR).log()


def linear_magnitude(waveform: Tensor) -> Tensor:
    """Return amplitudes per frequency bin: `(s)` → `(k, t)`, or batched."""
    if waveform.shape[-1] < MIN_SAMPLES:
        raise ValueError(f"expected at least {MIN_SAMPLES} samples, got {waveform.shape[-1]}")
    batched = waveform.reshape(-1, waveform.shape[-1])
    padded = F.pad(batched, (MEL_PADDING, MEL_PADDING), mode="reflect")
    window = torch.hann_window(N_FFT, device=waveform.device)
    spectrum = torch.stft(
        padded, N_FFT, HOP_LENGTH, window=window, center=False, return_complex=True
    )
    parts = torch.view_as_real(spectrum).square().sum(dim=-1)
    return (parts + POWER_EPSILON).sqrt().reshape(*waveform.shape[:-1], *spectrum.shape[1:])


def mel_filters(n_mels: int) -> Tensor:
    """Return the triangular filter bank `(m, k)` of this front end."""
    return slaney_filters(n_mels, N_FFT, SAMPLE_RATE)
