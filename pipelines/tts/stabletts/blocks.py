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

from pipelines.tts.stabletts.dropout import Dropout, drop

ROPE_BASE = 10_000.0
ROWS_AT_ONCE = 512
"""Queries whose scores are held at once, where attention is taken in steps and not fused."""


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """Return 1.0 on the valid positions: `lengths (b)` → `(b, 1, size)`."""
    positions = torch.arange(size, device=lengths.device)
    return (positions < lengths[:, None]).unsqueeze(1).to(torch.float32)


def hide(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero the padding of `x (b, c, t)`; `mask (b, 1, t)` is None where nothing is padded."""
    # In the numbers of `x`: a float32 mask would make everything behind it float32.
    return x if mask is None else x * mask.to(x.dtype)


def join(*parts: Tensor) -> Tensor:
    """Put sequences `(b, c, t)` above each other, channels innermost in memory."""
    return torch.cat([part.transpose(1, 2) for part in parts], dim=2).transpose(1, 2)


class Conv1d(nn.Conv1d):
    """A convolution of `(b, c, t)` that takes and leaves the channels innermost in memory.

    Norms, attention heads and modulations work on the channels of one position: in this layout none of them has
    to copy. torch knows the layout for images only, so the sequence passes as an image of height 1.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `x (b, c, t)`."""
        return convolve(x, self.weight, self.bias)

    def settle(self) -> None:
        """Lay the weights out like what they meet, once instead of at every call; for inference."""
        self.weight.data = self.weight.data.transpose(1, 2).contiguous().transpose(1, 2)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve `x (b, c, t)` with `weight (o, c, k)`, k odd, to `(b, o, t)`."""
    padding = (0, weight.shape[2] // 2)
    return F.conv2d(x.unsqueeze(2), weight.unsqueeze(2), bias, padding=padding).squeeze(2)


def rotate_positions(x: Tensor, rotated_dims: int) -> Tensor:
    """Turn the first `rotated_dims` of each head by its position: `x (b, n, t, d)` → same shape."""
    cos, sin = _rotations(x.shape[-2], rotated_dims, x.device)
    half = rotated_dims // 2
    a, b, rest = torch.split(x, [half, half, x.shape[-1] - rotated_dims], dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), dim=-1)


def _rotations(length: int, rotated_dims: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cosines and sines `(t, rotated_dims / 2)` of every position's angles."""
    half = rotated_dims // 2
    # Angles stay in fp32 (double-precision powers): bf16 cannot tell neighbouring positions apart.
    powers = torch.arange(half, device=device, dtype=torch.float32) / half
    positions = torch.arange(length, device=device, dtype=torch.float32)
    angles = positions[:, None] * ROPE_BASE**-powers
    return angles.cos(), angles.sin()


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
        self.conv_q = Conv1d(channels, channels, 1)
        self.conv_k = Conv1d(channels, channels, 1)
        self.conv_v = Conv1d(channels, channels, 1)
        self.conv_o = Conv1d(channels, channels, 1)
        self.conv_qkv: Conv1d | None = None
        for conv in (self.conv_q, self.conv_k, self.conv_v):
            nn.init.xavier_uniform_(conv.weight)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend over the valid positions of `x (b, h, t)`."""
        q, k, v = self._project(x)
        q, k = (rotate_positions(part, self.rotated_dims) for part in (q, k))
        p = self.p_dropout if self.training else 0.0
        # Over keys only: no row is without one, so no softmax over nothing can occur.
        keys = None if mask is None else mask.bool().unsqueeze(2)
        mixed = attend(q, k, v, keys, p)
        out: Tensor = self.conv_o(mixed.transpose(1, 2).flatten(2).transpose(1, 2))
        return out

    def _project(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map `x (b, h, t)` to queries, keys and values `(b, n, t, d)` in one convolution."""
        mapped = convolve(x, *self._joined()) if self.conv_qkv is None else self.conv_qkv(x)
        rows = mapped.transpose(1, 2)  # (b, t, 3 h)
        heads = rows.reshape(*rows.shape[:2], 3, self.n_heads, -1)
        return heads.permute(2, 0, 3, 1, 4).unbind()

    def _joined(self) -> tuple[Tensor, Tensor]:
        """The weights and biases of queries, keys and values in one."""
        parts = (self.conv_q, self.conv_k, self.conv_v)
        weight = torch.cat([part.weight for part in parts])
        bias = torch.cat([part.bias for part in parts if part.bias is not None])
        return weight, bias

    def settle(self) -> None:
        """Join queries, keys and values once instead of at every call; for inference."""
        weight, bias = self._joined()
        self.conv_qkv = Conv1d(weight.shape[1], len(weight), 1)
        self.conv_qkv.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.conv_qkv.bias = nn.Parameter(bias.detach(), requires_grad=False)


def attend(q: Tensor, k: Tensor, v: Tensor, keys: Tensor | None, p_dropout: float) -> Tensor:
    """Attend with `q`, `k`, `v` `(b, n, t, d)`; a key is seen where `keys (b, 1, 1, t)` is True."""
    is_exact = q.dtype is torch.float32
    if q.device.type != "cpu" or (p_dropout == 0.0 and is_exact):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=keys, dropout_p=p_dropout)
    # On CPUs torch has no fused attention with dropout (and draws it more slowly), and the fused one
    # that it has takes twice as long as these products in bfloat16.
    rows = (q,) if p_dropout > 0.0 else torch.split(q, ROWS_AT_ONCE, dim=2)
    mixed = [_attend_in_steps(part, k, v, keys, p_dropout) for part in rows]
    return torch.cat(mixed, dim=2) if len(mixed) > 1 else mixed[0]


# Compiled, it would become the fused attention again.
@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _attend_in_steps(
    q: Tensor, k: Tensor, v: Tensor, keys: Tensor | None, p_dropout: float
) -> Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)  # (b, n, rows, t)
    if keys is not None:
        scores = scores.masked_fill(~keys, -math.inf)
    weights = drop(scores.softmax(dim=-1).to(v.dtype), p_dropout)
    return weights @ v


class ConvFeedForward(nn.Module):
    """Two convolutions around a SiLU, blind to padding."""

    def __init__(self, channels: int, filters: int, kernel_size: int, p_dropout: float) -> None:
        super().__init__()
        self.conv_1 = Conv1d(channels, filters, kernel_size, padding=kernel_size // 2)
        self.conv_2 = Conv1d(filters, channels, kernel_size, padding=kernel_size // 2)
        self.dropout = Dropout(p_dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map `x (b, h, t)` to `(b, h, t)`, zero on padding."""
        inner = self.dropout(F.silu(self.conv_1(hide(x, mask))))
        return hide(self.conv_2(hide(inner, mask)), mask)


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
        self.norm = ChannelNorm(channels, elementwise_affine=False)
        self.attn = RotaryAttention(channels, n_heads, p_dropout)
        self.mlp = ConvFeedForward(channels, filters, kernel_size, p_dropout)
        adapter = nn.Identity() if gin == channels else nn.Linear(gin, channels)
        modulation = nn.Linear(channels, 6 * channels)
        self.adaLN_modulation = nn.Sequential(adapter, nn.SiLU(), modulation)
        # Zero gates make a new block the identity (adaLN-zero).
        nn.init.zeros_(modulation.weight)
        nn.init.zeros_(modulation.bias)

    def forward(self, x: Tensor, c: Tensor, mask: Tensor | None) -> Tensor:
        """Transform `x (b, h, t)` under the condition `c (b, g)`.

        Args:
            x: Sequence, any values on padding; they come out as zero.
            c: Condition, usually the voice.
            mask: `(b, 1, t)`, 1.0 on valid positions; None if nothing is padded.
        """
        parts = self.adaLN_modulation(c).unsqueeze(2).chunk(6, dim=1)  # six of (b, h, 1)
        shift_attn, scale_attn, gate_attn, shift_mlp, scale_mlp, gate_mlp = parts
        x = x + gate_attn * self.attn(self._modulate(x, shift_attn, scale_attn), mask)
        x = x + gate_mlp * self.mlp(self._modulate(x, shift_mlp, scale_mlp), mask)
        return hide(x, mask)

    def _modulate(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return torch.addcmul(shift, self.norm(x), 1 + scale)


def sinusoid(t: Tensor, width: int, scale: float = 1_000.0) -> Tensor:
    """Embed times `t (b)` as `(b, width)`: sines first, then cosines (Matcha-TTS, 2309.03199)."""
    half = width // 2
    step = -math.log(ROPE_BASE) / (half - 1)
    frequencies = torch.exp(torch.arange(half, device=t.device, dtype=torch.float32) * step)
    angles = scale * t.to(torch.float32)[:, None] * frequencies
    return torch.cat((angles.sin(), angles.cos()), dim=1)
