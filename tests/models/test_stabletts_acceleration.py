"""What makes speaking quicker on a device changes nothing that is spoken."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support import parity
from support.parity import array, close

from pipelines.tts.stabletts.acceleration import Acceleration, choose_acceleration, to_bucket
from pipelines.tts.stabletts.flow import SamplingOptions
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
    assert choose_acceleration(cpu, compiled=False) == Acceleration()
    assert choose_acceleration(cpu, compiled=True) == Acceleration(compile_mode="default")
    assert choose_acceleration(gpu, compiled=False) == Acceleration(joint_branches=True)
    assert choose_acceleration(gpu, compiled=True).compile_mode == "reduce-overhead"
