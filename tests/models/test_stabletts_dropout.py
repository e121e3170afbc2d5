"""Dropout with cheap draws is still dropout."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pipelines.tts.stabletts.blocks import attend
from pipelines.tts.stabletts.dropout import Dropout, drop

P = 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_wanted_share_is_dropped_and_the_mean_is_kept(dtype: torch.dtype) -> None:
    """Within five standard deviations of a million draws."""
    torch.manual_seed(1)
    dropped = drop(torch.ones(1_000, 1_001, dtype=dtype), P)
    assert float((dropped == 0).float().mean()) == pytest.approx(P, abs=0.0015)
    assert dropped.max() == torch.tensor(1 / (1 - P), dtype=dtype)


def test_neighbours_are_dropped_independently() -> None:
    """Four decisions come from one draw; none of them knows the others."""
    torch.manual_seed(2)
    lost = (drop(torch.ones(250_000, 4), P) == 0).float() - P
    correlation = lost.T @ lost / len(lost) / (P * (1 - P))
    assert torch.allclose(correlation, torch.eye(4), atol=0.015)


def test_a_seed_gives_the_same_draws_and_gradients_follow_them() -> None:
    """What was dropped learns nothing."""
    x = torch.ones(50, 7, requires_grad=True)
    torch.manual_seed(3)
    first = Dropout(P)(x)
    first.sum().backward()
    torch.manual_seed(3)
    assert torch.equal(first, drop(x, P))
    assert torch.equal(x.grad, first)


def test_nothing_is_dropped_in_use() -> None:
    """Only training drops."""
    x = torch.ones(3, 3)
    assert torch.equal(Dropout(P).eval()(x), x)


def test_attention_with_dropout_is_the_fused_one_on_average() -> None:
    """Padding is never attended to, and dropping changes no mean."""
    torch.manual_seed(4)
    q, k, v = torch.randn(3, 1, 2, 5, 8).unbind()
    keys = torch.tensor([1, 1, 1, 1, 0]).bool().view(1, 1, 1, 5)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)
    mean = torch.stack([attend(q, k, v, keys, P) for _ in range(4_000)]).mean(dim=0)
    assert torch.allclose(mean, expected, atol=0.05)
