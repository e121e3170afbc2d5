"""Interop cases 12 and 14 to 18: who gets a job, and what is never started."""

from __future__ import annotations

from pathlib import Path

from support.daemon import await_true
from support.devserver import project
from support.job_world import PROJECT, JobWorld, job

COMMITS = "/projects/:id/repository/commits"


def test_case_12_of_two_workers_one_gets_a_fresh_job_and_the_other_writes_nothing(
    world: JobWorld,
) -> None:
    """Both start at once on one job."""
    world.submit(job("only"))
    with world.run_worker(name="one") as one, world.run_worker(name="two") as two:
        assert (one.wait(), two.wait()) == (0, 0)
    claim, finish = world.by_worker()
    assert claim.subject.startswith("scriptorium: claim job only")
    assert finish.subject.startswith("scriptorium: finish (completed) job only")
    assert world.response("only")["worker_id"] in ("one", "two")


def test_case_14_a_claim_whose_answer_was_lost_is_found_to_be_ours(world: JobWorld) -> None:
    """The commit happened, nobody was told: the worker goes on with it and nothing is orphaned."""
    world.submit(job("a1"))
    world.server.set_faults(action="lose_reply", method="POST", endpoint=COMMITS, count=1)
    world.run_to_end()
    assert world.state("a1") == "completed"
    assert [commit.subject.split(" job")[0] for commit in world.by_worker()] == [
        "scriptorium: claim",
        "scriptorium: finish (completed)",
    ]


def test_case_15_a_reader_claims_nothing_and_says_so_once(tmp_path: Path) -> None:
    """A reporter's role: many polls, one log line, no write, no storm."""
    one = project(PROJECT, files={"a": "b"}, members={"translator": 40, "worker": 20})
    with JobWorld(tmp_path, one) as world:
        world.submit(job("a1"), job("a2"))
        _polls_without_writing(world)


def test_case_15_a_protected_branch_is_left_alone_and_named_once(tmp_path: Path) -> None:
    """A developer where only maintainers may push."""
    one = project(PROJECT, files={"a": "b"}, protected={"main": 40})
    with JobWorld(tmp_path, one) as world:
        world.submit(job("a1"), job("a2"), job("gone", canceled=True))
        _polls_without_writing(world)


def test_case_16_jobs_of_all_projects_run_in_the_order_of_their_submission(tmp_path: Path) -> None:
    """First come, first served, whatever project they are in."""
    with JobWorld(tmp_path, project("bible/one", files={"a": "b"}), _plain("bible/two")) as world:
        world.submit(_at("c", 3), _at("a", 1), to="bible/one")
        world.submit(_at("d", 4), _at("b", 2), to="bible/two")
        log = world.run_to_end()
    claimed = [line for line in log.splitlines() if "claimed job" in line]
    assert [line.split("claimed job ")[1][0] for line in claimed] == ["a", "b", "c", "d"]


def test_case_17_a_job_canceled_before_its_claim_is_acknowledged_and_not_started(
    world: JobWorld,
) -> None:
    """One commit answers it, so that it stops pending for the user."""
    world.submit(job("given-up", canceled=True))
    world.run_to_end()
    response = world.response("given-up")
    assert response["state"] == "canceled"
    assert response["termination_reason"] == "user_canceled"
    (answer,) = world.by_worker()
    assert answer.paths == {"gpu_jobs/job_given-up/response.yaml"}


def test_case_18_a_job_whose_time_is_over_is_not_started(world: JobWorld) -> None:
    """Nothing is written about it either; the next job is served."""
    world.submit(job("late", timeout="2020-01-01T00:00:00Z"), job("next"))
    world.run_to_end()
    assert world.state("late") is None
    assert world.state("next") == "completed"


def _polls_without_writing(world: JobWorld) -> None:
    with world.run_worker("--loop-interval", "0.05") as daemon:
        await_true(lambda: _asked(world, "POST /api/graphql") > 10, "ten polls")
        daemon.process.terminate()
        assert daemon.wait() == 0
    refusals = [line for line in daemon.log.splitlines() if "WARNING" in line]
    assert len(refusals) == 1, daemon.log
    assert PROJECT in refusals[0]
    assert world.by_worker() == []
    # GraphQL polls go on; everything else was asked a handful of times at most.
    endpoints = world.server.requests()["endpoints"]
    others = {name: tally["requests"] for name, tally in endpoints.items() if "graphql" not in name}
    assert max(count for name, count in others.items() if not name.startswith("git")) <= 4, others


def _asked(world: JobWorld, name: str) -> int:
    return int(world.server.requests()["endpoints"].get(name, {"requests": 0})["requests"])


def _plain(path: str) -> dict[str, object]:
    return project(path, files={"a": "b"})


def _at(job_id: str, minute: int) -> object:
    return job(job_id, submitted_at=f"2026-03-10T08:0{minute}:00.000Z")
