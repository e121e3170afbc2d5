"""Relative positions by distance: the base model's attention without its largest tensors.

`transformers` makes an embedding of every distance between any two frames, (l, l, d) in each layer, although
distances beyond −64 … +8 are all the same and only 73 embeddings exist. Here each query meets the
73 embeddings once, and what comes out is laid along the diagonals. On a CPU, where nothing is learned,
attention then runs over few heads of one recording at a time, so that its scores stay in the cache. The numbers
are the same, bit for bit. Axis letters: b recordings, h heads, l frames, d values of a head, p distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.wav2vec2_bert import modeling_wav2vec2_bert as original

_KNOWN = "_apply_relative_key_position_encoding"
"""Marks a `transformers` whose attention has the form that is replaced here (5.x)."""

CACHED_BYTES = 16 << 20
"""Scores that are computed together where memory is slower than the cache."""


def look_positions_up(network: nn.Module) -> None:
    """Give a network's relative-key attention layers the faster way, in place."""
    if not hasattr(original, _KNOWN):
        return
    for module in network.modules():
        is_plain = type(module) is original.Wav2Vec2BertSelfAttention
        if is_plain and module.position_embeddings_type == "relative_key":
            module.__class__ = RelativeKeyAttention


class RelativeKeyAttention(original.Wav2Vec2BertSelfAttention):  # type: ignore[misc]  # untyped
    """`Wav2Vec2BertSelfAttention` with relative keys, same weights, same results."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        relative_position_embeddings: Tensor | None = None,
        **options: object,
    ) -> tuple[Tensor, Tensor | None]:
        """hidden_states: (b, l, h·d); returns the same shape, and weights if there are any."""
        del relative_position_embeddings  # of other kinds of position embeddings
        shape = (*hidden_states.shape[:-1], -1, self.head_size)
        query, key, value = (
            linear(hidden_states).view(shape).transpose(1, 2)
            for linear in (self.linear_q, self.linear_k, self.linear_v)
        )
        embeddings = self.distance_embedding.weight.to(query.dtype)
        by_distance = torch.matmul(query, embeddings.T) * self.scaling  # (b, h, l, p)
        if self._fits_the_cache_in_parts(query):
            output, weights = self._in_parts(query, key, value, by_distance, attention_mask), None
        else:
            output, weights = self._at_once(query, key, value, by_distance, attention_mask, options)
        return self.linear_out(output.reshape(*hidden_states.shape[:-1], -1)), weights

    def _fits_the_cache_in_parts(self, query: Tensor) -> bool:
        is_learning = torch.is_grad_enabled() or self.training
        uses_sdpa = self.config._attn_implementation == "sdpa"
        return query.device.type == "cpu" and uses_sdpa and not is_learning

    def _at_once(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        by_distance: Tensor,
        mask: Tensor | None,
        options: dict[str, object],
    ) -> tuple[Tensor, Tensor | None]:
        """Attention as `transformers` configures it; returns (b, l, h, d) and weights."""
        attend = original.ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, original.eager_attention_forward
        )
        spread: Any = _Diagonals.apply  # untyped in torch
        result: tuple[Tensor, Tensor | None] = attend(
            self,
            query,
            key,
            value,
            mask,
            dropout=self.dropout.p if self.training else 0.0,
            scaling=self.scaling,
            position_bias=spread(by_distance, self.left_max_position_embeddings),
            **options,
        )
        return result

    def _in_parts(
        self, query: Tensor, key: Tensor, value: Tensor, by_distance: Tensor, mask: Tensor | None
    ) -> Tensor:
        """The same as `_at_once` with SDPA, some heads of one recording at a time; (b, l, h, d)."""
        recordings, heads, frames, size = query.shape
        together = max(1, CACHED_BYTES // (frames * frames * query.element_size()))
        output = query.new_empty(recordings, frames, heads, size)
        for row in range(recordings):
            hidden = _Hidden.of(mask, row)
            for first in range(0, heads, together):
                part = (slice(row, row + 1), slice(first, first + together))
                bias = laid_out(by_distance[part], self.left_max_position_embeddings)
                if hidden is not None:
                    hidden.from_(bias)
                attended = nn.functional.scaled_dot_product_attention(
                    query[part], key[part], value[part], attn_mask=bias, scale=self.scaling
                )
                output[row, :, part[1]] = attended[0].transpose(0, 1)
        return output


@dataclass(frozen=True, slots=True)
class _Hidden:
    """Frames that are padding, as none of a recording's may see them: from `first` on, where `where` says."""

    first: int
    where: Tensor
    """(h or 1, l, l − first)"""

    @classmethod
    def of(cls, mask: Tensor | None, row: int) -> _Hidden | None:
        """Of a recording, by what all may see, (b, h or 1, l, l); None: it has no padding."""
        if mask is None:
            return None
        hidden = ~mask[row]
        columns = hidden.flatten(0, -2).any(0).nonzero()
        return cls(first := int(columns[0]), hidden[..., first:]) if len(columns) else None

    def from_(self, bias: Tensor) -> None:
        """Take them away from attention, as `transformers` does."""
        bias[..., self.first :].masked_fill_(self.where, torch.finfo(bias.dtype).min)


class _Diagonals(torch.autograd.Function):
    """`laid_out` with its derivative."""

    @staticmethod
    def forward(ctx: Any, by_distance: Tensor, left: int) -> Tensor:
        ctx.left, ctx.distances = left, by_distance.shape[-1]
        return laid_out(by_distance, left)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _gathered(gradient, ctx.left, ctx.distances), None


def laid_out(by_distance: Tensor, left: int) -> Tensor:
    """(…, l, p) to (…, l, l): the value of the distance from each frame to each other one.

    Every row is one frame to the right of the one above. In a tensor wide enough for all of
    the distances at either end, rows with a stride one longer than theirs are therefore a plain copy.
    Beside them is what lies further off: filled in by so many rows together that it never shows between.
    """
    frames, distances = by_distance.shape[-2:]
    bias = by_distance.new_empty(*by_distance.shape[:-1], frames + distances - 1)
    for first in range(0, frames, distances):
        rows = slice(first, end := min(first + distances, frames))
        bias[..., rows, :end] = by_distance[..., rows, :1]
        bias[..., rows, end:] = by_distance[..., rows, -1:]
    _band(bias, distances).copy_(by_distance)
    return bias[..., left : left + frames]


def _gathered(gradient: Tensor, left: int, distances: int) -> Tensor:
    """What `laid_out` spread, summed up again: (…, l, l) to (…, l, p)."""
    wide = nn.functional.pad(gradient, (left, distances - 1 - left))
    sums = _band(wide, distances).clone()
    sums[..., 0] = gradient.tril(-left).sum(-1)
    sums[..., -1] = gradient.triu(distances - 1 - left).sum(-1)
    return sums


def _band(wide: Tensor, distances: int) -> Tensor:
    """The (…, l, p) along the diagonal of a contiguous (…, l, l + p − 1)."""
    shape = (*wide.shape[:-1], distances)
    strides = wide.stride()
    return wide.as_strided(shape, (*strides[:-2], strides[-2] + 1, 1), wide.storage_offset())
