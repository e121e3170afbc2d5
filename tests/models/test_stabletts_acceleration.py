"""What makes speaking quicker on a device changes nothing that is spoken."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support import parity
from support.parity import array, close
from torch import Tensor

from pipelines.tts.stabletts.acceleration import (
    CPU_TOKENS,
    Acceleration,
    accelerate,
    choose_acceleration,
    to_bucket,
)
from pipelines.tts.stabletts.blocks import ROWS_AT_ONCE, attend
from pipelines.tts.stabletts.flow import SamplingOptions
from pipelines.tts.stabletts.model import StableTTS
from pipelines.tts.stabletts.solvers import Solver


@torch.inference_mode()
@pytest.mark.parametrize("solver", [Solver.EULER, Solver.MIDPOINT])
def test_everything_a_gpu_does_gives_the_same_mel(solver: Solver) -> None:
    """Lengths rounded up to a bucket, both guidance branches in one batch."""
    model, options = parity.model(), SamplingOptions(steps=3, solver=solver)
    how = choose_acceleration(torch.device("cuda"), compiled=True)
    voice = model.voice(array("synth/ref_mel"))
    prior, frames, _ = model.plan(array("synth/x"), array("synth/x_lengths"), voice)
    rounded = to_bucket(prior, how)
    assert rounded.mu.shape[2] % how.bucket_frames == 0
    assert rounded.mu.shape[2] > prior.mu.shape[2]
    noise = torch.randn(rounded.mu.shape, generator=torch.Generator().manual_seed(5))
    length = int(frames[0])
    expected = model.render(prior, noise[:, :, :length], options)
    joint = replace(options, joint_branches=how.joint_branches)
    found = model.render(rounded, noise, joint)
    close(found[:, :, :length], expected, 1e-5)
    assert not found[:, :, length:].any()


def test_conditions_that_fill_their_bucket_stay_as_they_are() -> None:
    """Without buckets, every length does."""
    model = parity.model()
    voice = model.voice(array("synth/ref_mel"))
    prior, _, _ = model.plan(array("synth/x"), array("synth/x_lengths"), voice)
    assert to_bucket(prior, Acceleration()) is prior


def test_a_device_gets_what_suits_it() -> None:
    """One switch and the device decide."""
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    usual = Acceleration(most_tokens=CPU_TOKENS)
    assert choose_acceleration(cpu, compiled=False) == usual
    assert choose_acceleration(cpu, compiled=True) == replace(usual, compile_mode="default")
    assert choose_acceleration(gpu, compiled=False) == Acceleration(joint_branches=True)
    assert choose_acceleration(gpu, compiled=True).compile_mode == "reduce-overhead"


@torch.inference_mode()
def test_settled_weights_speak_the_same_and_leave_the_voice_alone() -> None:
    """Joined and laid out once; what a training or a file holds stays as it was."""
    model = parity.model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    quick = accelerate(model, Acceleration(), torch.bfloat16)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    expected = _mel(model)
    close(_mel(accelerate(model, Acceleration(), torch.float32)), expected, 1e-5)
    close(_mel(quick, torch.bfloat16), expected, 0.1)


@torch.inference_mode()
@pytest.mark.parametrize("is_ragged", [False, True])
def test_attention_in_bfloat16_is_the_exact_one_rounded(is_ragged: bool) -> None:
    """On a CPU it goes in steps, many rows at a time; padding is seen by none of them."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn((3, 2, 2, ROWS_AT_ONCE + 9, 8), generator=generator)
    keys = torch.ones(2, 1, 1, q.shape[2], dtype=torch.bool)
    keys[1, :, :, 40:] = not is_ragged
    expected = attend(q, k, v, keys, 0.0)
    found = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), keys if is_ragged else None, 0.0)
    close(found.float(), expected, 0.02)


def _mel(model: StableTTS, dtype: torch.dtype = torch.float32) -> Tensor:
    voice = model.voice(array("synth/ref_mel"))
    prior, _, _ = model.plan(array("synth/x"), array("synth/x_lengths"), voice)
    noise = torch.randn(prior.mu.shape, generator=torch.Generator().manual_seed(5))
    with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
        return model.render(prior, noise, SamplingOptions(steps=4))
