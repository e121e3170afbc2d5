"""Networks with random weights of any size, as transformers makes them or with our attention; and one pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertForCTC

from pipelines.asr.w2v2bert.attention import look_positions_up
from pipelines.asr.w2v2bert.processor import FEATURE_SIZE

FULL_WIDTH = 1024  # that of the published model


def network(width: int, layers: int, *, faster: bool = True) -> torch.nn.Module:
    """An encoder with adapter and head; `faster`: with our attention."""
    torch.manual_seed(0)
    settings = Wav2Vec2BertConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=16 if width == FULL_WIDTH else 4,
        intermediate_size=4 * width,
        output_hidden_size=width,
        vocab_size=40,
        pad_token_id=0,
        add_adapter=True,
    )
    model = Wav2Vec2BertForCTC(settings).eval()
    if faster:
        look_positions_up(model)
    return model


@torch.inference_mode()
def forward(model: torch.nn.Module, lengths: Sequence[int]) -> torch.Tensor:
    """Logits of recordings of these lengths in frames, padded to the longest."""
    dtype = next(model.parameters()).dtype
    features = torch.ones(len(lengths), max(lengths), FEATURE_SIZE, dtype=dtype)
    mask = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
    logits: torch.Tensor = model(input_features=features, attention_mask=mask).logits
    return logits
