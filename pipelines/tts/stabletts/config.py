"""Sizes of the StableTTS networks and the settings of its spectrogram.

Knows no tensors. Every derived constant says its unit; the saved checkpoint carries these dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass

SAMPLE_RATE = 44_100  # samples per second
N_FFT = 2_048  # samples per analysis window
HOP_LENGTH = 512  # samples per frame
FRAMES_PER_S = SAMPLE_RATE / HOP_LENGTH
N_MELS = 128
MEL_PADDING = (N_FFT - HOP_LENGTH) // 2  # samples, each side
MEL_FLOOR = 1e-5  # amplitude below which the logarithm is clamped


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes of one text-to-mel model; the defaults are the published v1.1 weights."""

    n_vocab: int = 401
    n_mels: int = N_MELS
    hidden_channels: int = 256
    filter_channels: int = 1_024
    n_heads: int = 4
    n_enc_layers: int = 3
    n_dec_layers: int = 6
    kernel_size: int = 3
    p_dropout: float = 0.1
    gin_channels: int = 256

    def __post_init__(self) -> None:
        """Refuse sizes for which the network is not defined."""
        if self.n_dec_layers % 2:
            raise ValueError(f"n_dec_layers must be even (skips pair up), got {self.n_dec_layers}")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")
        if self.hidden_channels % (4 * self.n_heads):
            raise ValueError(
                f"hidden_channels must be a multiple of 4 × n_heads, "
                f"got {self.hidden_channels} and {self.n_heads}"
            )

    @classmethod
    def tiny(cls, n_vocab: int = 401, n_mels: int = N_MELS) -> ModelConfig:
        """Return a model that learns a few clips in a minute on a laptop.

        Never narrower than the mel: the flow has to carry the noise of every band.
        """
        return cls(
            n_vocab=n_vocab,
            n_mels=n_mels,
            hidden_channels=128,
            filter_channels=192,
            n_heads=2,
            n_enc_layers=2,
            n_dec_layers=2,
            gin_channels=128,
        )


@dataclass(frozen=True, slots=True)
class VocosConfig:
    """Sizes of a Vocos vocoder; the defaults are the published `vocos.pt`."""

    n_mels: int = N_MELS
    dim: int = 512
    intermediate_dim: int = 1_536
    num_layers: int = 8


@dataclass(frozen=True, slots=True)
class FireflyConfig:
    """Sizes of a firefly-gan vocoder; the defaults are the published base generator."""

    n_mels: int = N_MELS
    depths: tuple[int, ...] = (3, 3, 9, 3)  # ConvNeXt blocks per stage
    dims: tuple[int, ...] = (128, 256, 384, 512)  # channels per stage
    initial_channels: int = 512  # of the waveform head; halved by every up-sampling
    upsample_kernels: tuple[int, ...] = (16, 16, 4, 4, 4)  # strides are half of these
    resblock_kernels: tuple[int, ...] = (3, 7, 11)
