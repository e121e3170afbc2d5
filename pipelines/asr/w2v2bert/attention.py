"""Relative positions by look-up: the base model's attention without its largest tensor.

`transformers` makes an embedding of every distance between any two frames, (l, l, d) in each layer, although
distances beyond −64 … +8 are all the same and only 73 embeddings exist. Here each query meets the
73 embeddings once, and every pair of frames looks its product up: the same numbers, bit for bit.
Axis letters: b recordings, h heads, l frames, d values of a head, p distances.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.models.wav2vec2_bert import modeling_wav2vec2_bert as original

_KNOWN = "_apply_relative_key_position_encoding"
"""Marks a `transformers` whose attention has the form that is replaced here (5.x)."""


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
        attend = original.ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, original.eager_attention_forward
        )
        output, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.dropout.p if self.training else 0.0,
            scaling=self.scaling,
            position_bias=self._position_bias(query),
            **options,
        )
        return self.linear_out(output.reshape(*hidden_states.shape[:-1], -1)), weights

    def _position_bias(self, query: Tensor) -> Tensor:
        """What distance alone adds to attention, (b, h, l, l); query: (b, h, l, d)."""
        embeddings = self.distance_embedding.weight.to(query.dtype)
        by_distance = torch.matmul(query, embeddings.T)  # (b, h, l, p)
        frames = torch.arange(query.shape[2], device=query.device)
        left = self.left_max_position_embeddings
        distance = (frames[None, :] - frames[:, None]).clamp(
            -left, self.right_max_position_embeddings
        )
        index = (distance + left).expand(*query.shape[:2], -1, -1)
        bias: Tensor = by_distance.gather(-1, index) * self.scaling
        return bias
