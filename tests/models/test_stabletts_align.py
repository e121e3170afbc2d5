"""Monotonic alignment search is exact, and durations become frames."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from support.parity import array, close, group, names
from torch.nn import functional as F

from pipelines.tts.stabletts import align

CASES = sorted({name.split("/")[0] for name in names("mas/")})
SEARCHES = [align.search, align.search_on_device]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("case", CASES)
def test_paths_of_the_original(case: str, search: object) -> None:
    """Host and device searches agree with the compiled one, ties included."""
    data = group(f"mas/{case}")
    count, length, width = data["score"].shape
    frames = data.get("frames", torch.full((count,), length))
    tokens = data.get("tokens", torch.full((count,), width))
    path = search(data["score"], frames, tokens)
    valid = (torch.arange(length) < frames[:, None]).unsqueeze(2)
    assert torch.equal(F.one_hot(path, width) * valid, data["path"].long())


def best_sum(scores: np.ndarray) -> float:
    """Try every monotonic path of `scores (t, x)`."""
    length, width = scores.shape
    rows = np.arange(length)
    return max(
        float(scores[rows, np.searchsorted(cuts, rows, side="right")].sum())
        for cuts in combinations(range(1, length), width - 1)
    )


def test_search_is_exact_on_thousands_of_random_cases() -> None:
    """No path has a larger sum than the found one."""
    rng = np.random.default_rng(11)
    shapes = [(t, x) for t in range(1, 8) for x in range(1, t + 1)]
    rounds = 200
    checked = 0
    for length, width in shapes:
        # Integers are summed exactly, so equal sums are equal and ties occur.
        scores = rng.integers(-9, 10, (rounds, length, width)).astype(np.float32)
        sizes = (torch.full((rounds,), length), torch.full((rounds,), width))
        path = align.search(torch.from_numpy(scores), *sizes)
        assert torch.equal(path, align.search_on_device(torch.from_numpy(scores), *sizes))
        steps = path.diff(dim=1)
        assert ((steps == 0) | (steps == 1)).all()
        assert (path[:, 0] == 0).all()
        assert (path[:, -1] == width - 1).all()
        found = np.take_along_axis(scores, path.numpy()[:, :, None], axis=2).sum(axis=(1, 2))
        assert found.tolist() == [best_sum(one) for one in scores]
        checked += rounds
    assert checked >= 5_000


@pytest.mark.parametrize("search", SEARCHES)
def test_ragged_items_are_aligned_as_if_alone(search: object) -> None:
    """Padding takes no part in the search."""
    generator = torch.Generator().manual_seed(3)
    frames = torch.randint(1, 60, (40,), generator=generator)
    tokens = torch.minimum(torch.randint(1, 30, (40,), generator=generator), frames)
    scores = torch.randn(40, 60, 30, generator=generator)
    path = search(scores, frames, tokens)
    for i, (t, x) in enumerate(zip(frames.tolist(), tokens.tolist(), strict=True)):
        alone = search(scores[i : i + 1, :t, :x], frames[i : i + 1], tokens[i : i + 1])
        assert torch.equal(path[i, :t], alone[0])
        assert not path[i, t:].any()


def test_more_tokens_than_frames_are_refused() -> None:
    """No path gives every token a frame."""
    with pytest.raises(ValueError, match="tokens ≤ frames"):
        align.search(torch.zeros(1, 2, 3), torch.tensor([2]), torch.tensor([3]))


def test_durations_are_laid_out_in_time() -> None:
    """A token without frames is passed over; fractions are cut at the end."""
    durations = torch.tensor([[2.0, 0.0, 1.5, 1.0], [1.0, 1.0, 0.0, 0.0]])
    path, frames = align.expand_durations(durations)
    assert frames.tolist() == [4, 2]
    assert path.tolist() == [[0, 0, 2, 2], [0, 1, 0, 0]]


def test_counting_frames_inverts_laying_out() -> None:
    """Both directions use the same convention."""
    durations = torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
    path, frames = align.expand_durations(durations)
    mask = (torch.arange(6) < frames[:, None]).float().unsqueeze(1)
    close(align.token_durations(path, mask, 3).squeeze(1), durations, 0)


def test_a_plan_has_at_least_one_frame() -> None:
    """Even if every token is predicted to be silent."""
    _, frames = align.expand_durations(torch.zeros(1, 4))
    assert frames.tolist() == [1]


def test_scores_are_gaussian_log_likelihoods() -> None:
    """With unit variance, summed over bands."""
    y, mu = array("vel/x"), array("vel/mu")[:, :, :7]
    normal = torch.distributions.Normal(mu.unsqueeze(2), 1.0)
    expected = normal.log_prob(y.unsqueeze(3)).sum(dim=1)
    close(align.frame_scores(y, mu), expected, 1e-3)
