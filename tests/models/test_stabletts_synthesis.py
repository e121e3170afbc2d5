"""Mels drawn by every solver equal the original's; a batch equals its utterances one by one."""

from __future__ import annotations

import pytest
import torch
from support import parity
from support.parity import array, close, group
from torch.nn import functional as F

from pipelines.tts.stabletts.flow import SamplingOptions
from pipelines.tts.stabletts.solvers import Solver, integrate

RUNS = list(parity.settings()["synth"])


def options(settings: dict[str, float]) -> SamplingOptions:
    """Translate one entry of the data's settings."""
    return SamplingOptions(
        steps=int(settings["n_timesteps"]),
        solver=Solver(settings["solver"]),
        guidance=settings["cfg"],
        temperature=settings.get("temperature", 1.0),
        length_scale=settings.get("length_scale", 1.0),
    )


@torch.inference_mode()
@pytest.mark.parametrize("run", RUNS)
def test_mel_and_number_of_calls(run: str) -> None:
    """Mel, aligned means, alignment, and how often the network was asked."""
    settings, expected = options(parity.settings()["synth"][run]), group(f"synth/{run}")
    model = parity.model()
    calls: list[int] = []
    model.decoder.estimator.register_forward_hook(lambda *_: calls.append(1))

    voice = model.voice(array("synth/ref_mel"))
    x, x_lengths = array("synth/x"), array("synth/x_lengths")
    prior, _, path = model.plan(x, x_lengths, voice, settings.length_scale)
    mel = model.render(prior, expected["noise"], settings)

    close(mel, expected["mel"], 5e-3 if settings.solver is Solver.DOPRI5 else 1e-4)
    # Steps that are chosen by an error of the size of rounding differ with the order of sums.
    chosen = settings.solver is Solver.DOPRI5
    assert len(calls) == pytest.approx(int(expected["calls"]), rel=0.1 if chosen else 0)
    if "mu" in expected:
        close(prior.mu, expected["mu"], 1e-5)
        close(one_hot(path, x.shape[1]), expected["attn"][:, 0].float(), 0)


@torch.inference_mode()
def test_padded_batch_of_the_original_is_reproduced_on_request() -> None:
    """The leak through padding is understood well enough to repeat it."""
    expected = group("synth/batch2")
    model = parity.model(leaks_padding=True)
    voice = model.voice(array("synth/ref_mel")).expand(2, -1)
    prior, _, path = model.plan(expected["x"], expected["x_lengths"], voice)
    mel = model.render(prior, expected["noise"], options(parity.settings()["synth_batch2"]))
    close(mel, expected["mel"], 1e-4)
    attention = one_hot(path, expected["x"].shape[1]) * prior.mask
    close(attention, expected["attn"][:, 0].float(), 0)


@torch.inference_mode()
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("solver", [Solver.EULER, Solver.MIDPOINT, Solver.RK4])
def test_ragged_batch_equals_single_utterances(solver: Solver, joint: bool) -> None:
    """Neighbours and padding change nothing."""
    model = parity.model()
    settings = SamplingOptions(steps=4, solver=solver, guidance=3.0, joint_branches=joint)
    lengths = torch.tensor([15, 9, 4, 15])
    x = torch.randint(1, 401, (4, 15), generator=torch.Generator().manual_seed(5))
    x = x * (torch.arange(15) < lengths[:, None])
    voice = model.voice(array("synth/ref_mel"))
    prior, frames, _ = model.plan(x, lengths, voice.expand(4, -1))
    assert len(set(frames.tolist())) > 2
    noise = torch.randn(prior.mu.shape, generator=torch.Generator().manual_seed(6))

    together = model.render(prior, noise, settings)
    for i, (tokens, count) in enumerate(zip(lengths.tolist(), frames.tolist(), strict=True)):
        alone, own_frames, _ = model.plan(x[i : i + 1, :tokens], lengths[i : i + 1], voice)
        assert own_frames.item() == count
        single = model.render(alone, noise[i : i + 1, :, :count], settings)
        close(together[i : i + 1, :, :count], single, 1e-5)
        assert not together[i, :, count:].any()


@torch.inference_mode()
def test_bfloat16_speaks_nearly_the_same_mel() -> None:
    """The state stays fp32 between steps."""
    model, settings = parity.model(), SamplingOptions(steps=4, guidance=1.0)
    voice = model.voice(array("synth/ref_mel"))
    prior, _, _ = model.plan(array("synth/x"), array("synth/x_lengths"), voice)
    noise = array("synth/euler4_cfg3/noise")
    exact = model.render(prior, noise, settings)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = model.render(prior, noise, settings)
    assert narrow.dtype is torch.float32
    assert float((narrow - exact).abs().mean()) < 0.05 * float(exact.std())


@torch.inference_mode()
def test_a_token_that_would_last_minutes_is_cut_short() -> None:
    """One bad prediction cannot fill the memory."""
    model = parity.model()
    model.dp.proj.bias.fill_(30.0)
    x = torch.tensor([[0, 11, 0]])
    _, frames, _ = model.plan(x, torch.tensor([3]), torch.zeros(1, 32))
    assert frames.item() == 600


@pytest.mark.parametrize(
    ("solver", "steps", "tolerance"),
    [(Solver.EULER, 2000, 1e-3), (Solver.MIDPOINT, 50, 1e-4), (Solver.RK4, 8, 1e-5)],
)
def test_solvers_approach_the_exact_solution(solver: Solver, steps: int, tolerance: float) -> None:
    """dx/dt = −2tx has the solution exp(−t²)."""
    start = torch.ones(3, dtype=torch.float64)
    end = integrate(lambda t, x: -2 * t * x, start, steps, solver)
    close(end, start / torch.e, tolerance)


def test_the_adaptive_solver_approaches_the_exact_solution() -> None:
    """It needs no number of steps."""
    start = torch.ones(3, dtype=torch.float64)
    close(integrate(lambda t, x: -2 * t * x, start, 1, Solver.DOPRI5), start / torch.e, 1e-4)


def test_no_steps_are_refused() -> None:
    """A mel of pure noise would be no answer."""
    with pytest.raises(ValueError, match="at least 1"):
        integrate(lambda _t, x: x, torch.ones(1), 0, Solver.EULER)


def one_hot(path: torch.Tensor, width: int) -> torch.Tensor:
    """`(b, t)` → `(b, x, t)`."""
    return F.one_hot(path, width).transpose(1, 2).float()
