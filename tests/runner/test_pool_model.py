"""A whole pool at random: every step of its machines is one that the design has, every item ends once."""

from __future__ import annotations

import pytest
from walks.pool import MAY_FOLLOW, REQUEST_MAY_FOLLOW, walk


@pytest.mark.parametrize("keep_alive_s", [-1.0, 0.0])
def test_a_pool_takes_random_steps_and_none_is_illegal(keep_alive_s: float) -> None:
    """Every item ends in a way that its own story explains; `make walks` takes a hundred thousand."""
    found = walk(seed=4, steps=10_000, keep_alive_s=keep_alive_s)

    status, outcomes = found.status, found.outcomes
    assert found.illegal == []
    assert set(outcomes) == {"output", "SlotDied", "TaskTimeout", "TaskFailed", "cancelled"}
    assert status.succeeded == outcomes["output"]
    assert status.cancelled == outcomes["cancelled"]
    assert status.timed_out == outcomes["TaskTimeout"]
    assert status.failures == outcomes["TaskFailed"] + outcomes["SlotDied"]
    states = {step[2] for step in found.steps} | {"queued"}
    assert states == {*MAY_FOLLOW, *REQUEST_MAY_FOLLOW, "succeeded", "timed_out", "cancelled"}
