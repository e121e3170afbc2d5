"""Several jobs at once: each in a slot of its own, projects in turn, and one end for all of them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.daemon import Daemon
from support.devserver import project
from support.job_world import JobWorld, job, training

from gitlab_jobs.job import Job, JobType, Mode, ModelSpec
from gitlab_jobs.scanner import Candidate
from gitlab_jobs.store import ProjectRef
from gitlab_jobs.turns import Turns

THREE = ("--max-concurrent-jobs", "3", "--watch-s", "0.1")
STEADY = ("--loop-interval", "0.05")


def together(daemon: Daemon, *job_ids: str) -> None:
    """Wait until all of these jobs train."""
    for job_id in job_ids:
        daemon.await_log(f"job {job_id}: train")
    assert not any(f"job {job_id} ended" in daemon.log for job_id in job_ids)


def claims(log: str) -> list[str]:
    """Ids of the claimed jobs, in their order."""
    lines = [line for line in log.splitlines() if "claimed job" in line]
    return [line.split("claimed job ")[1].split()[0] for line in lines]


def test_three_jobs_run_beside_each_other_and_end_on_their_own(
    world: JobWorld, tmp_path: Path
) -> None:
    """Each has its own process, progress and publication; the fourth waits for a free slot."""
    gates = {name: tmp_path / name for name in ("a1", "a2", "a3", "a4")}
    world.submit(*(training(n, wait_in="train", gate=str(gate)) for n, gate in gates.items()))
    with world.run_worker(*THREE) as daemon:
        together(daemon, "a1", "a2", "a3")
        assert len(psutil.Process(daemon.process.pid).children()) == 3
        assert claims(daemon.log) == ["a1", "a2", "a3"]
        gates["a2"].touch()
        daemon.await_log("job a2 ended: completed")
        daemon.await_log("job a4: train")
        assert [world.state(name) for name in gates] == [
            "running",
            "completed",
            "running",
            "running",
        ]
        for gate in gates.values():
            gate.touch()
        assert daemon.wait() == 0, daemon.log
    assert {world.state(name) for name in gates} == {"completed"}
    subjects = [commit.subject for commit in world.by_worker()]
    assert sum("claim job" in subject for subject in subjects) == 4


@pytest.mark.parametrize(
    ("number", "left"), [(signal.SIGTERM, None), (signal.SIGQUIT, "completed")]
)
def test_a_signal_means_all_running_jobs(
    world: JobWorld, tmp_path: Path, number: signal.Signals, left: str | None
) -> None:
    """A stop gives all of them back, a drain lets all of them finish; neither starts another one."""
    gate = tmp_path / "gate"
    names = ("a1", "a2", "a3")
    world.submit(
        *(training(name, epochs=1, wait_in="download", gate=str(gate)) for name in names),
        job("waiting"),
    )
    with world.run_worker(*THREE, *STEADY) as daemon:
        for name in names:
            daemon.await_log(f"job {name}: download")
        children = psutil.Process(daemon.process.pid).children(recursive=True)
        daemon.send(number)
        if number == signal.SIGQUIT:
            gate.touch()
        assert daemon.wait() == 0, daemon.log
        assert not any(child.is_running() for child in children)
    assert [world.state(name) for name in names] == [left] * 3
    assert world.state("waiting") is None


def test_a_faulty_project_stops_nobody_else(tmp_path: Path) -> None:
    """One project's repository answers every write with an error, another one's job crashes."""
    broken, good = (project(f"bible/{name}", files={"a": "b"}) for name in ("broken", "good"))
    with JobWorld(tmp_path, broken, good) as world:
        world.submit(job("b1", "Failing", fails_with="crash"), job("b2"), to="bible/broken")
        world.submit(job("g1"), job("g2"), to="bible/good")
        writes = "/api/v4/projects/bible%2Fbroken/repository/commits"
        world.server.set_faults(action="status", endpoint=writes, status=403, count=1)
        log = world.run_to_end("--max-concurrent-jobs", "2")
        assert (
            world.state("g1", of="bible/good") == world.state("g2", of="bible/good") == "completed"
        )
        assert "Traceback" not in log


def test_a_project_with_one_job_is_served_before_another_ones_long_queue(tmp_path: Path) -> None:
    """Although every job of the queue was submitted earlier."""
    crowded, quiet = (project(f"bible/{name}", files={"a": "b"}) for name in ("crowded", "quiet"))
    with JobWorld(tmp_path, crowded, quiet) as world:
        early = [job(f"c{n}", submitted_at=f"2026-03-10T07:0{n}:00Z") for n in range(5)]
        world.submit(*early, to="bible/crowded")
        world.submit(job("late", submitted_at="2026-03-10T09:00:00Z"), to="bible/quiet")
        log = world.run_to_end()
    assert claims(log) == ["c0", "late", "c1", "c2", "c3", "c4"]


def offer(project_id: str, job_id: str, **fields: Any) -> Candidate:
    """A job somebody could take."""
    found = Job(
        job_id=job_id,
        job_type=JobType.ASR,
        mode=Mode.INFERENCE,
        model=ModelSpec(type="Echo"),
        **fields,
    )
    return Candidate(ProjectRef(project_id, f"bible/{project_id}", "main"), found)


def test_who_has_less_running_comes_first_then_who_waited_longest() -> None:
    """Fifty jobs of one project take every other place and no more, as long as another one has some."""
    crowd = [offer("p", f"p{n}") for n in range(50)]
    turns, order, running = Turns(), [], [crowd[0].project]
    for chosen in turns.choose([*crowd, offer("q", "q0"), offer("q", "q1")], running):
        order.append(chosen.job.job_id)
        turns.note_claim(chosen.project)
        running.append(chosen.project)
    assert order[:5] == ["q0", "p0", "q1", "p1", "p2"]
    assert len(order) == 52


def test_a_later_look_remembers_who_was_served() -> None:
    """One slot that frees now and then is shared as well."""
    turns, order = Turns(), []
    waiting = [offer("p", "p0"), offer("p", "p1"), offer("q", "q0"), offer("r", "r0")]
    while waiting:
        chosen = next(turns.choose(waiting, []))
        turns.note_claim(chosen.project)
        waiting.remove(chosen)
        order.append(chosen.job.job_id)
    assert order == ["p0", "q0", "r0", "p1"]
