"""firefly-gan: log-mel → waveform by transposed convolutions; for projects that have its weights.

Knows no training: weights are kept folded (no weight norm, no stochastic depth).
Sources: HiFi-GAN (arXiv 2010.05646), EVA-GAN (2402.00892).

Axes: b batch · m mel bands · t frames · d width · s samples.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.tts.stabletts.blocks import ChannelNorm
from pipelines.tts.stabletts.config import FireflyConfig
from pipelines.tts.stabletts.vocos import NORM_EPSILON, ConvNeXtBlock

DILATIONS = (1, 3, 5)
HEAD_KERNEL = 13
EXPANSION = 4  # inner width of a ConvNeXt block relative to its outer one


class ConvNeXtEncoder(nn.Module):
    """Four ConvNeXt stages of growing width at frame rate."""

    def __init__(self, config: FireflyConfig) -> None:
        super().__init__()
        dims = config.dims
        self.downsample_layers = nn.ModuleList([_stem(config.n_mels, dims[0])])
        self.downsample_layers.extend(_widen(narrow, wide) for narrow, wide in pairwise(dims))
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(dim, EXPANSION * dim, 1e-6) for _ in range(depth)))
            for depth, dim in zip(config.depths, dims, strict=True)
        )
        self.norm = ChannelNorm(dims[-1], eps=NORM_EPSILON)

    def forward(self, mel: Tensor) -> Tensor:
        """Map `mel (b, m, t)` to `(b, d, t)`."""
        x = mel
        for widen, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(widen(x))
        out: Tensor = self.norm(x)
        return out


class ResidualStack(nn.Module):
    """Pairs of convolutions, the first of each pair dilated."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_same(channels, kernel_size, d) for d in DILATIONS)
        self.convs2 = nn.ModuleList(_same(channels, kernel_size, 1) for _ in DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x (b, d, s)` to the same shape."""
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(F.silu(first(F.silu(x))))
        return x


class ParallelStacks(nn.Module):
    """The mean of stacks with different kernels."""

    def __init__(self, channels: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualStack(channels, kernel) for kernel in kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x (b, d, s)` to the same shape."""
        total: Tensor = sum(block(x) for block in self.blocks)
        return total / len(self.blocks)


class WaveformHead(nn.Module):
    """Five up-samplings from frames to samples."""

    def __init__(self, config: FireflyConfig) -> None:
        super().__init__()
        width = config.initial_channels
        self.conv_pre = nn.Conv1d(config.dims[-1], width, HEAD_KERNEL, padding=HEAD_KERNEL // 2)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for kernel in config.upsample_kernels:
            stride = kernel // 2
            up = nn.ConvTranspose1d(
                width, width // 2, kernel, stride, padding=(kernel - stride) // 2
            )
            width //= 2
            self.ups.append(up)
            self.resblocks.append(ParallelStacks(width, config.resblock_kernels))
        self.conv_post = nn.Conv1d(width, 1, HEAD_KERNEL, padding=HEAD_KERNEL // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map features `(b, d, t)` to a waveform `(b, s)`."""
        x = self.conv_pre(x)
        for up, stacks in zip(self.ups, self.resblocks, strict=True):
            x = stacks(up(F.silu(x)))
        waveform: Tensor = self.conv_post(F.silu(x)).tanh()
        return waveform[:, 0]


class FireflyGAN(nn.Module):
    """The larger, slower vocoder, trained on more data."""

    def __init__(self, config: FireflyConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = ConvNeXtEncoder(config)
        self.head = WaveformHead(config)

    def forward(self, mel: Tensor) -> Tensor:
        """Speak the natural-log `mel (b, m, t)` as `(b, 512 · t)`."""
        waveform: Tensor = self.head(self.backbone(mel))
        return waveform


def _stem(n_mels: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(n_mels, dim, 7, padding=3), ChannelNorm(dim, eps=NORM_EPSILON))


def _widen(narrow: int, wide: int) -> nn.Sequential:
    return nn.Sequential(ChannelNorm(narrow, eps=NORM_EPSILON), nn.Conv1d(narrow, wide, 1))


def _same(channels: int, kernel_size: int, dilation: int) -> nn.Conv1d:
    padding = (kernel_size - 1) * dilation // 2
    return nn.Conv1d(channels, channels, kernel_size, padding=padding, dilation=dilation)
