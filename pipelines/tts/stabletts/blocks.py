"""Building blocks shared by the text encoder and the decoder: attention, feed-forward, DiT block.

Does not know text, mels or losses. Sources: RoPE (arXiv 2104.09864), DiT (2212.09748), convolutional
feed-forward of HierSpeech++ (2311.12454).

Axes: b batch · h hidden · f filter · g condition · t sequence (tokens or frames) · n heads · d head width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROPE_BASE = 10_000.0


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """Return 1.0 on the valid positions: `lengths (b)` → `(b, 1, size)`."""
    positions = torch.arange(size, device=lengths.device)
    return (positions < lengths[:, None]).unsqueeze(1).to(torch.float32)


def rotate_positions(x: Tensor, rotated_dims: int) -> Tensor:
    """Turn the first `rotated_dims` of each head by its position: `x (b, n, t, d)` → same shape."""
    half = rotated_dims // 2
    # Angles stay in fp32 (double-precision powers): bf16 cannot tell neighbouring positions apart.
    powers = torch.arange(half, device=x.device, dtype=torch.float32) / half
    positions = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)
    angles = positions[:, None] * ROPE_BASE**-powers  # (t, half)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b, rest = torch.split(x, [half, half, x.shape[-1] - rotated_dims], dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), dim=-1)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of `(b, c, t)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x (b, c, t)` at every position."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class RotaryAttention(nn.Module):
    """Multi-head self-attention whose first half of every head knows positions."""

    def __init__(self, channels: int, n_heads: int, p_dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.rotated_dims = channels // n_heads // 2
        self.p_dropout = p_dropout
        self.conv_q = nn.Conv1d(channels, channels, 1)
        self.conv_k = nn.Conv1d(channels, channels, 1)
        self.conv_v = nn.Conv1d(channels, channels, 1)
        self.conv_o = nn.Conv1d(channels, channels, 1)
        for conv in (self.conv_q, self.conv_k, self.conv_v):
            nn.init.xavier_uniform_(conv.weight)

    def forward(self, x: Tensor, keys: Tensor | None) -> Tensor:
        """Attend over `x (b, h, t)`; `keys (b, 1, 1, t)` is True where a key may be seen."""
        q = rotate_positions(self._heads(self.conv_q(x)), self.rotated_dims)
        k = rotate_positions(self._heads(self.conv_k(x)), self.rotated_dims)
        # Without a contiguous last axis torch falls back to its slow attention.
        v = self._heads(self.conv_v(x)).contiguous()
        p = self.p_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=keys, dropout_p=p)
        out: Tensor = self.conv_o(mixed.transpose(2, 3).flatten(1, 2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        """Cut the channels into heads: `(b, h, t)` → `(b, n, t, d)`."""
        b, h, t = x.shape
        return x.view(b, self.n_heads, h // self.n_heads, t).transpose(2, 3)


class ConvFeedForward(nn.Module):
    """Two convolutions around a SiLU, blind to padding."""

    def __init__(self, channels: int, filters: int, kernel_size: int, p_dropout: float) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(channels, filters, kernel_size, padding=kernel_size // 2)
        self.conv_2 = nn.Conv1d(filters, channels, kernel_size, padding=kernel_size // 2)
        self.dropout = nn.Dropout(p_dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map `x (b, h, t)` with `mask (b, 1, t)` to `(b, h, t)`, zero on padding."""
        inner = self.dropout(F.silu(self.conv_1(x * mask)))
        out: Tensor = self.conv_2(inner * mask) * mask
        return out


class DiTBlock(nn.Module):
    """Attention and feed-forward, each shifted, scaled and gated by the condition (adaLN-zero)."""

    def __init__(
        self,
        channels: int,
        filters: int,
        n_heads: int,
        kernel_size: int,
        p_dropout: float,
        gin: int,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.attn = RotaryAttention(channels, n_heads, p_dropout)
        self.mlp = ConvFeedForward(channels, filters, kernel_size, p_dropout)
        adapter = nn.Identity() if gin == channels else nn.Linear(gin, channels)
        modulation = nn.Linear(channels, 6 * channels)
        self.adaLN_modulation = nn.Sequential(adapter, nn.SiLU(), modulation)
        # Zero gates make a new block the identity (adaLN-zero).
        nn.init.zeros_(modulation.weight)
        nn.init.zeros_(modulation.bias)

    def forward(self, x: Tensor, c: Tensor, mask: Tensor, keys: Tensor | None) -> Tensor:
        """Transform `x (b, h, t)` under the condition `c (b, g)`.

        Args:
            x: Sequence, any values on padding.
            c: Condition, usually the voice.
            mask: `(b, 1, t)`, 1.0 on valid positions.
            keys: `(b, 1, 1, t)` boolean form of the mask, or None if nothing is padded.
        """
        parts = self.adaLN_modulation(c).unsqueeze(2).chunk(6, dim=1)  # six of (b, h, 1)
        shift_attn, scale_attn, gate_attn, shift_mlp, scale_mlp, gate_mlp = parts
        x = x * mask
        x = x + gate_attn * self.attn(self._modulate(x, shift_attn, scale_attn), keys) * mask
        out: Tensor = x + gate_mlp * self.mlp(self._modulate(x, shift_mlp, scale_mlp), mask)
        return out

    def _modulate(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return normed * (1 + scale) + shift


def attention_keys(mask: Tensor, *, padded: bool) -> Tensor | None:
    """Return the boolean key mask `(b, 1, 1, t)` of `mask (b, 1, t)`, None when nothing is padded.

    A mask over keys only leaves no row without a key, so no softmax over nothing can occur.
    """
    return mask.bool().unsqueeze(2) if padded else None


def sinusoid(t: Tensor, width: int, scale: float = 1_000.0) -> Tensor:
    """Embed times `t (b)` as `(b, width)`: sines first, then cosines (Matcha-TTS, 2309.03199)."""
    half = width // 2
    step = -math.log(ROPE_BASE) / (half - 1)
    frequencies = torch.exp(torch.arange(half, device=t.device, dtype=torch.float32) * step)
    angles = scale * t.to(torch.float32)[:, None] * frequencies
    return torch.cat((angles.sin(), angles.cos()), dim=1)
