"""Positions by look-up give exactly what transformers computes, forwards and backwards."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertForCTC

from pipelines.asr.w2v2bert.attention import RelativeKeyAttention, look_positions_up


@pytest.fixture(params=["sdpa", "eager"])
def pair(request):
    """The same small network twice, the second with look-up."""
    torch.manual_seed(0)
    config = Wav2Vec2BertConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        vocab_size=12, pad_token_id=0, add_adapter=True, output_hidden_size=48, layerdrop=0.0,
        apply_spec_augment=False, attn_implementation=request.param,
    )  # fmt: skip
    plain = Wav2Vec2BertForCTC(config).eval()
    faster = copy.deepcopy(plain)
    look_positions_up(faster)
    return plain, faster


def _inputs(frames):
    mask = torch.ones(2, frames, dtype=torch.int64)
    mask[1, frames // 2 :] = 0
    return {"input_features": torch.randn(2, frames, 160), "attention_mask": mask}


@pytest.mark.parametrize("frames", [2, 50, 200])
def test_the_outputs_are_the_same_bits(pair, frames):
    """Below and beyond the 64 frames in which distances differ, with padding."""
    plain, faster = pair
    inputs = _inputs(frames)
    with torch.inference_mode():
        assert torch.equal(plain(**inputs).logits, faster(**inputs).logits)


def test_the_gradients_are_the_same(pair):
    """So a training takes the same way."""
    plain, faster = pair
    inputs = _inputs(120)
    for network in pair:
        network(**inputs).logits.square().mean().backward()
    theirs = dict(plain.named_parameters())
    for name, ours in faster.named_parameters():
        torch.testing.assert_close(ours.grad, theirs[name].grad, rtol=1e-4, atol=1e-7)


def test_only_relative_keys_are_replaced_and_weights_keep_their_names(pair):
    """The adapter's attention has no positions; a checkpoint does not tell the difference."""
    plain, faster = pair
    replaced = [m for m in faster.modules() if isinstance(m, RelativeKeyAttention)]
    assert len(replaced) == 2
    assert plain.state_dict().keys() == faster.state_dict().keys()
