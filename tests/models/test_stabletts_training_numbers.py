"""Losses, gradients and alignments of a training step equal the original's."""

from __future__ import annotations

import pytest
import torch
from support import parity
from support.parity import array, close, group
from torch.nn import functional as F

from pipelines.tts.stabletts import align
from pipelines.tts.stabletts.blocks import length_mask
from pipelines.tts.stabletts.model import Batch, Draws, Losses, StableTTS


def batch() -> Batch:
    """Return the stored batch."""
    data = group("train")
    return Batch(*(data[name] for name in Batch.__slots__))


def draws() -> Draws:
    """Return the stored random numbers."""
    return Draws(array("train/u_keep"), array("train/u_time"), array("train/noise"))


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the distance of two tensors relative to the second's norm."""
    return float((actual - expected).norm() / expected.norm().clamp(min=1e-12))


@pytest.fixture(scope="module")
def stepped() -> tuple[StableTTS, Losses]:
    """One backward pass in the original's treatment of padding."""
    model = parity.model(leaks_padding=True)
    losses = model(batch(), draws())
    losses.total.backward()
    return model, losses


def test_losses(stepped: tuple[StableTTS, Losses]) -> None:
    """All three, as the original reports them."""
    _, losses = stepped
    for loss, name in ((losses.duration, "dur"), (losses.flow, "diff"), (losses.prior, "prior")):
        torch.testing.assert_close(loss, array(f"train/{name}_loss"), rtol=1e-5, atol=0)


def test_gradients_of_every_parameter(stepped: tuple[StableTTS, Losses]) -> None:
    """Norm and sum of each."""
    parameters = dict(stepped[0].named_parameters())
    norms, sums = array("train/grad_l2"), array("train/grad_sum")
    for i, name in enumerate(parity.settings()["gradient_order"]):
        gradient = parameters[name].grad
        assert gradient is not None, name
        torch.testing.assert_close(gradient.norm(), norms[i], rtol=1e-3, atol=1e-6, msg=name)
        slack = 1e-3 * float(norms[i]) + 1e-6
        torch.testing.assert_close(gradient.sum(), sums[i], rtol=0, atol=slack, msg=name)


@pytest.mark.parametrize("name", parity.names("train/grad/"))
def test_whole_gradients(stepped: tuple[StableTTS, Losses], name: str) -> None:
    """Every element, for the parameters that stand for conditions and outputs."""
    gradient = stepped[0].get_parameter(name).grad
    assert gradient is not None
    assert relative(gradient, array(f"train/grad/{name}")) < 1e-3


def test_scores_and_alignment_of_the_step() -> None:
    """The search sees the original's scores and finds its path."""
    model, data = parity.model(leaks_padding=True), batch()
    z_mask = length_mask(data.z_lengths, data.z.shape[2])
    keep = draws().keep > 0.2
    voice = torch.where(keep, model.ref_encoder(data.z, z_mask), model.fake_speaker)
    _, mu, _ = model.encoder(data.x, data.x_lengths, voice)
    scores = align.frame_scores(data.y, mu)
    expected = array("train/mas_score")
    valid = pairs(data.y_lengths, data.x_lengths, expected.shape)
    close(scores * valid, expected * valid, 1e-3)  # on values of 300; fp32 sums differ in order
    path = model.align(data, mu)
    mask = length_mask(data.y_lengths, data.y.shape[2])
    close(F.one_hot(path, data.x.shape[1]).transpose(1, 2) * mask, array("train/attn").float(), 0)


def test_padding_changes_neither_losses_nor_gradients() -> None:
    """More padding around the same utterances is the same training step."""
    model, tight = parity.model(), batch()
    wide = Batch(
        F.pad(tight.x, (0, 5)),
        tight.x_lengths,
        F.pad(tight.y, (0, 9)),
        tight.y_lengths,
        F.pad(tight.z, (0, 4)),
        tight.z_lengths,
    )
    noise = torch.cat((draws().noise, torch.full((3, 20, 9), 7.0)), dim=2)
    results = []
    for data, drawn in ((tight, draws()), (wide, Draws(draws().keep, draws().time, noise))):
        model.zero_grad()
        losses = model(data, drawn)
        losses.total.backward()
        results.append((losses, [p.grad.clone() for p in model.parameters()]))
    (first, first_grads), (second, second_grads) = results
    torch.testing.assert_close(first.total, second.total, rtol=1e-6, atol=0)
    assert max(map(relative, second_grads, first_grads)) < 1e-4


def test_one_utterance_alone_trains() -> None:
    """A batch of one has a time of its own."""
    data, drawn = batch(), draws()
    alone = Batch(*(getattr(data, name)[:1] for name in Batch.__slots__))
    losses = parity.model()(alone, Draws(drawn.keep[:1], drawn.time[:1], drawn.noise[:1]))
    assert losses.total.isfinite()


def test_bfloat16_changes_losses_little_and_gradients_stay_finite() -> None:
    """Alignment and losses are computed in fp32 whatever the networks multiply in."""
    model, data, drawn = parity.model(), batch(), draws()
    exact = model(data, drawn)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = model(data, drawn)
    narrow.total.backward()
    for name in ("duration", "flow", "prior"):
        loss = getattr(narrow, name)
        assert loss.dtype is torch.float32
        torch.testing.assert_close(loss, getattr(exact, name), rtol=0.05, atol=0)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def pairs(frames: torch.Tensor, tokens: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """1.0 where frame and token are both valid: `(b, t, x)`."""
    rows = torch.arange(shape[1]) < frames[:, None]
    columns = torch.arange(shape[2]) < tokens[:, None]
    return (rows[:, :, None] & columns[:, None]).float()
