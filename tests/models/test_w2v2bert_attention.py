"""Positions by look-up give exactly what transformers computes, forwards and backwards."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertForCTC

from pipelines.asr.w2v2bert import attention, model
from pipelines.asr.w2v2bert.attention import RelativeKeyAttention, look_positions_up
from pipelines.asr.w2v2bert.config import tiny
from pipelines.asr.w2v2bert.vocabulary import Vocabulary


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_size_of_the_parts_changes_no_bit(pair, dtype, monkeypatch):
    """Head by head or all at once, in either number format."""
    plain, faster = (network.to(dtype) for network in pair)
    inputs = _inputs(150)
    inputs["input_features"] = inputs["input_features"].to(dtype)
    with torch.inference_mode():
        expected = plain(**inputs).logits
        for most in (1, 2 * 150 * 150 * dtype.itemsize, 1 << 30):
            monkeypatch.setattr(attention, "CACHED_BYTES", most)
            assert torch.equal(faster(**inputs).logits, expected)


@pytest.mark.parametrize("has_positions", [True, False])
def test_tiny_checkpoints_with_and_without_positions_load(tmp_path, has_positions):
    """The preset had none at first."""
    torch.manual_seed(0)
    encoder = replace(tiny().encoder, relative_positions=has_positions)
    vocabulary = Vocabulary.from_texts(["abc"])
    stored = model.build(replace(tiny(), encoder=encoder), vocabulary)
    stored.save(tmp_path)
    loaded = model.load(tmp_path)
    inputs = _inputs(40)
    with torch.inference_mode():
        before, after = (one.network.eval()(**inputs).logits for one in (stored, loaded))
    assert torch.equal(before, after)
    replaced = [m for m in loaded.network.modules() if isinstance(m, RelativeKeyAttention)]
    assert bool(replaced) is has_positions
