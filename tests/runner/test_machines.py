"""The tables of states of workers and requests: what stands there can be done, and nothing else."""

from __future__ import annotations

import random
from typing import Any

import pytest

from runner.machines import (
    REQUEST_STEPS,
    WORKER_STEPS,
    IllegalStep,
    Machine,
    request_machine,
    worker_machine,
)


@pytest.mark.parametrize(
    ("make", "steps"), [(worker_machine, WORKER_STEPS), (request_machine, REQUEST_STEPS)]
)
def test_random_walks_stay_on_the_table(make: Any, steps: dict[Any, frozenset[Any]]) -> None:
    """A hundred thousand tries each: what is on the table is done, the rest is refused."""
    choose = random.Random(3)
    machine: Machine[Any] = make()
    states = list(steps)
    for _ in range(100_000):
        before, wanted = machine.state, choose.choice(states)
        if wanted in steps[before]:
            machine.to(wanted)
            assert machine.state is wanted
        else:
            with pytest.raises(IllegalStep):
                machine.to(wanted)
            assert machine.state is before
        if not steps[machine.state]:
            machine = make()


def test_every_state_can_be_reached_and_final_ones_are_final() -> None:
    """The tables have no dead corners."""
    for steps, start in ((WORKER_STEPS, "spawning"), (REQUEST_STEPS, "queued")):
        reached = {start} | {str(state) for targets in steps.values() for state in targets}
        assert reached == {str(state) for state in steps}
