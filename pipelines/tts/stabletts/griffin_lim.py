"""A vocoder without weights: mel → magnitudes → phases that fit, by fast Griffin-Lim iterations.

Sounds metallic beside Vocos. For trying a voice on a machine that has no vocoder weights; results say so.
Source: Perraudin, Balazs, Søndergaard, "A fast Griffin-Lim algorithm" (WASPAA 2013).

Axes: b batch · m mel bands · t frames · k frequency bins · s samples.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.tts.stabletts.config import HOP_LENGTH, MEL_PADDING, N_FFT
from pipelines.tts.stabletts.mel import mel_filters
from pipelines.tts.stabletts.vocos import InverseSTFT

ROUNDS = 16
MOMENTUM = 0.99  # as in the paper; 0 is the classic algorithm
MAGNITUDE_ROUNDS = 24
MAX_LOG = 6.0  # a mel beyond this is no speech; its exponential would drown everything


class GriffinLim(nn.Module):
    """Same interface as the vocoders with weights; deterministic."""

    def __init__(self, rounds: int = ROUNDS) -> None:
        super().__init__()
        self.rounds = rounds
        self.istft = InverseSTFT()

    def forward(self, mel: Tensor) -> Tensor:
        """Speak the natural-log `mel (b, m, t)` as `(b, 512 · t)`."""
        frames = mel.shape[2]
        if frames * HOP_LENGTH <= MEL_PADDING:  # too short for the analysis to be reflected
            return mel.new_zeros(len(mel), frames * HOP_LENGTH)
        magnitude = linear_from_mel(mel.float().clamp(max=MAX_LOG).exp())
        generator = torch.Generator().manual_seed(0)
        angles = torch.rand(magnitude.shape[1:], generator=generator) * (2 * torch.pi)
        phase = torch.polar(torch.ones_like(magnitude), angles.to(mel.device).expand_as(magnitude))
        previous = torch.zeros_like(phase)
        for _ in range(self.rounds):
            rebuilt = self._analyse(self.istft(magnitude * phase))
            ahead = rebuilt + MOMENTUM * (rebuilt - previous)
            phase = ahead / ahead.abs().clamp(min=1e-9)
            previous = rebuilt
        waveform: Tensor = self.istft(magnitude * phase)
        return waveform

    def _analyse(self, waveform: Tensor) -> Tensor:
        """Return the complex spectrum `(b, k, t)` of `waveform (b, s)`."""
        padded = F.pad(waveform, (MEL_PADDING, MEL_PADDING), mode="reflect")
        return torch.stft(
            padded, N_FFT, HOP_LENGTH, window=self.istft.window, center=False, return_complex=True
        )


def linear_from_mel(mel: Tensor) -> Tensor:
    """Find non-negative magnitudes `(b, k, t)` whose bands are `mel (b, m, t)`.

    Multiplicative updates (Lee and Seung, 2001) from the transposed filters: never negative, and bins
    between two bands share their energy.
    """
    filters = mel_filters(mel.shape[1]).to(mel.device)
    spread = _first_guess(mel.shape[1]).to(mel.device)
    magnitude = spread.T @ mel
    for _ in range(MAGNITUDE_ROUNDS):
        ratio = (filters.T @ mel) / (filters.T @ (filters @ magnitude)).clamp(min=1e-10)
        magnitude = magnitude * ratio
    return magnitude


@cache
def _first_guess(n_mels: int) -> Tensor:
    """Return a rough inverse of the filters, transposed: `(m, k)`, not negative anywhere."""
    filters = mel_filters(n_mels)
    return filters / filters.square().sum(dim=1, keepdim=True).clamp(min=1e-10)
