"""Batches of like length within a frame budget."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.training.batching import BatchPlan, group_steps, plan_batches, plan_epoch


def _verses(count=500):
    """Lengths of Bible verses in frames of 20 ms: mostly 5–20 s."""
    dice = random.Random(3)
    return [round(50 * min(30.0, max(1.0, dice.lognormvariate(2.25, 0.4)))) for _ in range(count)]


lengths_of_clips = st.lists(st.integers(1, 1500), min_size=1, max_size=80)


@given(lengths_of_clips, st.integers(1, 5000), st.integers(0, 5))
def test_every_clip_is_in_exactly_one_batch_within_the_budget(lengths, budget, epoch):
    """For any lengths and any budget; only a clip beyond it has a batch of its own."""
    for plan in (
        plan_batches(lengths, budget),
        plan_epoch(lengths, budget, seed=1, epoch=epoch),
    ):
        assert sorted(index for batch in plan.batches for index in batch) == [*range(len(lengths))]
        assert all(plan.frames_of(batch) <= budget or len(batch) == 1 for batch in plan.batches)


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_padding_wastes_at_most_five_percent(epoch):
    """Random order wastes more than a fifth at the same budget."""
    lengths = _verses()
    assert plan_epoch(lengths, 4000, seed=0, epoch=epoch).padding_waste <= 0.05
    shuffled = random.Random(0).sample(range(len(lengths)), len(lengths))
    assert plan_batches(lengths, 4000, order=shuffled).padding_waste > 0.2


def test_the_first_batch_of_a_run_is_the_largest():
    """Too little memory shows at once."""
    plan = plan_epoch(_verses(), 4000, seed=5, epoch=0)
    assert plan.frames_of(plan.batches[0]) == max(map(plan.frames_of, plan.batches))


def test_epochs_differ_and_repeat_exactly():
    """Seed and epoch decide, nothing else."""
    lengths = _verses(100)
    first, again = (plan_epoch(lengths, 4000, seed=2, epoch=3) for _ in range(2))
    assert first == again
    assert first.batches != plan_epoch(lengths, 4000, seed=2, epoch=4).batches
    assert first.batches != plan_epoch(lengths, 4000, seed=9, epoch=3).batches


def test_nothing_gives_no_batches():
    """An empty corpus is not an error here."""
    assert plan_batches([], 100) == BatchPlan((), ())
    assert plan_batches([], 100).padding_waste == 0.0


def test_steps_take_all_batches_in_order():
    """The last step may be smaller."""
    batches = [(0,), (1,), (2,), (3,), (4,)]
    assert group_steps(batches, 2) == (((0,), (1,)), ((2,), (3,)), ((4,),))
