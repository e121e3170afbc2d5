"""Interop cases 54 to 56: logs, which files a worker touches, and what an idle poll costs."""

from __future__ import annotations

from pathlib import Path

from support.daemon import await_true
from support.devserver import project
from support.job_world import MANIFEST, PROJECT, JobWorld, job, training

SECRET = "token-worker"  # the daemon's own, as if it had leaked into a child


def test_case_54_every_ended_job_has_a_small_clean_log(world: JobWorld) -> None:
    """Completed and failed; no control characters, no token, head and tail kept."""
    world.submit(job("a1", "Chatty", secret=SECRET), job("f1", "Failing", fails_with="bug"))
    world.run_to_end()
    log = _log(world, "a1")
    assert len(log.encode()) <= 1_000_000
    assert SECRET not in log
    assert not [char for char in log if ord(char) < 32 and char != "\n" and char != "\t"]
    assert "first line" in log
    assert "last line" in log
    assert "bytes left out" in log
    assert "ZeroDivisionError" in _log(world, "f1")


def test_case_54_a_log_without_output_is_not_empty(world: JobWorld) -> None:
    """An empty file would break the editor's sync."""
    world.submit(job("a1"))
    world.run_to_end()
    assert "Ended completed" in _log(world, "a1")


def test_case_55_no_commit_touches_anything_that_is_not_the_jobs_own(world: JobWorld) -> None:
    """All kinds of ends, commit by commit."""
    world.submit(
        training("t1"), job("f1", "Failing", fails_with="no"), job("c1", canceled=True), job("a1")
    )
    world.run_to_end()
    commits = world.by_worker()
    assert len(commits) == 7
    for commit in commits:
        (job_id,) = {path.split("/")[1] for path in commit.paths}
        assert job_id.removeprefix("job_") in commit.subject
        assert all(path.startswith(f"gpu_jobs/{job_id}/") for path in commit.paths)
        assert "[skip ci]" in commit.subject
        assert MANIFEST not in commit.paths


def test_case_56_an_idle_poll_costs_the_same_for_many_finished_jobs(tmp_path: Path) -> None:
    """One finished job or a hundred: no request more per poll."""
    costs = [_requests_per_poll(tmp_path / str(count), count) for count in (1, 100)]
    assert costs[0] == costs[1] <= 2


def _requests_per_poll(directory: Path, finished: int) -> float:
    directory.mkdir()
    done = "state: completed\ntimestamp: '2026-03-10T08:12:00+00:00'\n"
    files = {f"gpu_jobs/job_j{n}/response.yaml": done for n in range(finished)}
    with JobWorld(directory, project(PROJECT, files=files)) as world:
        world.submit(*(job(f"j{n}") for n in range(finished)))
        with world.run_worker("--loop-interval", "0.02") as daemon:
            daemon.await_log("is ready")
            await_true(lambda: _polls(world) >= 3, "the first polls")
            polls, others = _polls(world), _others(world)
            await_true(lambda: _polls(world) >= polls + 20, "twenty more polls")
            daemon.kill()
            return 1 + (_others(world) - others) / 20


def _others(world: JobWorld) -> int:
    """Requests that are no polls, counted in one reply: polls go on between two."""
    counted = world.server.requests()
    return int(counted["total"]) - int(counted["endpoints"]["POST /api/graphql"]["requests"])


def _polls(world: JobWorld) -> int:
    return int(
        world.server.requests()["endpoints"].get("POST /api/graphql", {"requests": 0})["requests"]
    )


def _log(world: JobWorld, job_id: str) -> str:
    content = world.read(f"gpu_jobs/job_{job_id}/logs.txt")
    assert content is not None
    return content.decode()
