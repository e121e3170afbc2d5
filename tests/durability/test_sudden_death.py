"""A worker that is killed outright, and one that is frozen and comes back too late."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from durability.orphans import ALLOWED_S, seconds_until_gone
from support.daemon import await_true
from support.job_world import JobWorld, training

ROUNDS = 20
SHORT_LEASE = ("--lease-s", "1", "--heartbeat-s", "0.3", "--watch-s", "0.1")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[JobWorld]:
    """One project."""
    with JobWorld(tmp_path) as world:
        yield world


@pytest.mark.slow
def test_no_process_survives_its_worker(world: JobWorld) -> None:
    """Twenty times: the job ignores every polite signal, and is gone within a second all the same."""
    times = [seconds_until_gone(world, number) for number in range(ROUNDS)]
    assert max(times) <= ALLOWED_S


def test_a_worker_that_slept_through_its_lease_writes_nothing(
    world: JobWorld, tmp_path: Path
) -> None:
    """Frozen in mid-job; another worker takes over and finishes; the first wakes up and steps back."""
    gate = tmp_path / "gate"
    world.submit(training("t1", wait_in="train", gate=str(gate)))
    with world.run_worker(*SHORT_LEASE, name="first") as first:
        first.await_log("job t1: train")
        await_true(lambda: world.response("t1").get("lease_n", 0) > 1, "a renewal")
        first.send(signal.SIGSTOP)
        gate.touch()
        with world.run_worker(*SHORT_LEASE, "--loop-interval", "0.2", name="second") as second:
            second.await_log("job t1 ended: completed")
            commits = world.by_worker()
            first.send(signal.SIGCONT)
            assert first.wait() == 0
            second.process.terminate()
            second.wait()
    assert "job t1 is not ours any more" in first.log
    assert world.by_worker() == commits
    response = world.response("t1")
    assert (response["worker_id"], response["state"], response["attempt"]) == (
        "second",
        "completed",
        2,
    )
