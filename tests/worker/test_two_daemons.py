"""Two real daemons, one queue: every job is run once, by one of them, fifty times over."""

from __future__ import annotations

from collections import Counter

import pytest
from support.daemon import Daemon, await_true
from support.job_world import Commit, JobWorld, job

ROUNDS = 50
JOBS = 10
QUICK = ("--loop-interval", "0.05")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_ten_jobs_are_run_once_each_by_one_of_two_daemons_in_fifty_rounds(world: JobWorld) -> None:
    """Both see each round's ten jobs at once; the git history shows one claim and one end per job."""
    world.submit(*_jobs(0))
    with world.run_worker(*QUICK, name="one") as one, world.run_worker(*QUICK, name="two") as two:
        for number in range(ROUNDS):
            if number:
                world.submit(*_jobs(number))
            await_true(lambda: _ended(one, two) >= (number + 1) * JOBS, f"round {number}")  # noqa: B023 - called at once
        one.process.terminate()
        two.process.terminate()
        assert (one.wait(), two.wait()) == (0, 0)
    commits = world.by_worker()
    everything = {f"r{number}j{which}" for number in range(ROUNDS) for which in range(JOBS)}
    assert _counts(commits, "A") == dict.fromkeys(everything, 1)
    assert _counts(commits, "M") == dict.fromkeys(everything, 1)
    assert len(commits) == 2 * ROUNDS * JOBS
    ran = Counter(name for daemon in (one, two) for name in _runs(daemon))
    assert ran == dict.fromkeys(everything, 1)
    # Both took part, or this would have shown nothing.
    assert min(len(_runs(one)), len(_runs(two))) >= ROUNDS
    assert "Traceback" not in one.log + two.log


def _jobs(number: int) -> list[object]:
    return [job(f"r{number}j{which}") for which in range(JOBS)]


def _ended(*daemons: Daemon) -> int:
    return sum(daemon.log.count(" ended: completed") for daemon in daemons)


def _runs(daemon: Daemon) -> list[str]:
    return [
        line.split("claimed job ")[1].split(" ")[0]
        for line in daemon.log.splitlines()
        if "claimed job" in line
    ]


def _counts(commits: list[Commit], status: str) -> dict[str, int]:
    """How many commits added (A) or changed (M) each job's response."""
    counted = Counter(
        path.split("/")[1].removeprefix("job_")
        for commit in commits
        for kind, path in commit.changes
        if kind == status and path.endswith("/response.yaml")
    )
    return dict(counted)
