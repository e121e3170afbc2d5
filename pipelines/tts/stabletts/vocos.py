"""Vocos: log-mel → waveform through one inverse Fourier transform (arXiv 2306.00814).

Knows no text and no training. Returns 512 samples per frame. Also the home of the ConvNeXt block.

Axes: b batch · m mel bands · t frames · d width · k frequency bins · s samples.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.tts.stabletts.blocks import ChannelNorm
from pipelines.tts.stabletts.config import HOP_LENGTH, MEL_PADDING, N_FFT, VocosConfig

NORM_EPSILON = 1e-6
MAX_MAGNITUDE = 100.0


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution and a frame-wise network, scaled per channel, added to the input."""

    def __init__(self, dim: int, inner: int, initial_scale: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), initial_scale))
        self.dwconv = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.pwconv1 = nn.Linear(dim, inner)
        self.pwconv2 = nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x (b, d, t)` to the same shape."""
        h = self.norm(self.dwconv(x).transpose(1, 2))
        h = self.gamma * self.pwconv2(F.gelu(self.pwconv1(h)))
        out: Tensor = x + h.transpose(1, 2)
        return out


class VocosBackbone(nn.Module):
    """ConvNeXt stack at frame rate."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        dim = config.dim
        self.embed = nn.Conv1d(config.n_mels, dim, 7, padding=3)
        self.norm = ChannelNorm(dim, eps=NORM_EPSILON)
        self.convnext = nn.ModuleList(
            ConvNeXtBlock(dim, config.intermediate_dim, 1 / config.num_layers)
            for _ in range(config.num_layers)
        )
        self.final_layer_norm = nn.LayerNorm(dim, eps=NORM_EPSILON)

    def forward(self, mel: Tensor) -> Tensor:
        """Map `mel (b, m, t)` to features `(b, t, d)`."""
        x = self.norm(self.embed(mel))
        for block in self.convnext:
            x = block(x)
        out: Tensor = self.final_layer_norm(x.transpose(1, 2))
        return out


class InverseSTFT(nn.Module):
    """Windowed overlap-add whose ends are cut like the analysis padded them."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(N_FFT))

    def forward(self, spectrum: Tensor) -> Tensor:
        """Turn the complex `spectrum (b, k, t)` into `(b, s)`."""
        frames = torch.fft.irfft(spectrum, N_FFT, dim=1) * self.window[:, None]
        power = self.window.square()[None, :, None].expand(1, -1, frames.shape[2])
        cut = slice(MEL_PADDING, -MEL_PADDING)
        return _overlap_add(frames)[:, cut] / _overlap_add(power)[:, cut]


def _overlap_add(frames: Tensor) -> Tensor:
    """Sum `frames (b, n, t)` shifted by one hop each: `(b, s)`."""
    length = (frames.shape[2] - 1) * HOP_LENGTH + N_FFT
    summed = F.fold(frames, (1, length), kernel_size=(1, N_FFT), stride=(1, HOP_LENGTH))
    return summed[:, 0, 0]


class SpectrumHead(nn.Module):
    """Features → log-magnitude and phase of each bin → waveform."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out = nn.Linear(dim, N_FFT + 2)
        self.istft = InverseSTFT()

    def forward(self, x: Tensor) -> Tensor:
        """Map features `(b, t, d)` to a waveform `(b, s)`."""
        log_magnitude, phase = self.out(x).transpose(1, 2).float().chunk(2, dim=1)
        magnitude = log_magnitude.exp().clamp(max=MAX_MAGNITUDE)
        waveform: Tensor = self.istft(torch.polar(magnitude, phase))
        return waveform


class Vocos(nn.Module):
    """The vocoder of choice: small, quick on CPUs, MIT weights."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = VocosBackbone(config)
        self.head = SpectrumHead(config.dim)
        self.apply(_initialise)

    def forward(self, mel: Tensor) -> Tensor:
        """Speak the natural-log `mel (b, m, t)` as `(b, 512 · t)`, −1…1 for a sane mel."""
        waveform: Tensor = self.head(self.backbone(mel))
        return waveform


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
