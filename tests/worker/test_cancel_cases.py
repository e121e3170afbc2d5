"""Interop cases 27 to 32: a running job that is canceled, removed, deleted or taken away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from support.daemon import Daemon, await_true, has_child_processes
from support.job_world import MANIFEST, JobWorld, job, training

from gitlab_jobs.yaml_text import dump_yaml

FOLDER = "gpu_jobs/job_t1"
RESPONSE = f"{FOLDER}/response.yaml"
MODEL = f"{FOLDER}/checkpoint/best_model.pt"
OFTEN = ("--watch-s", "0.05", "--heartbeat-s", "0.5")


@contextmanager
def running(world: JobWorld, stage: str = "train") -> Iterator[Daemon]:
    """A one-shot daemon whose job waits in a stage; it must end by itself afterwards."""
    world.submit(training("t1", wait_in=stage))
    with world.run_worker(*OFTEN) as daemon:
        daemon.await_log(f"job t1: {stage}")
        yield daemon
        assert daemon.wait() == 0, daemon.log


@pytest.mark.parametrize(
    "stage", ["download", "preprocess", "train", "evaluate", "infer", "upload"]
)
def test_cases_27_and_32_a_cancel_is_honoured_in_every_stage(world: JobWorld, stage: str) -> None:
    """The state says canceled by the user, and the partial model and the log are there."""
    with running(world, stage):
        world.submit(training("t1", wait_in=stage, canceled=True))
    response = world.response("t1")
    assert (response["state"], response["termination_reason"]) == ("canceled", "user_canceled")
    assert "result" not in response
    assert world.read(MODEL) is not None
    assert world.read(f"{FOLDER}/logs.txt") is not None


def test_case_27_a_job_that_listens_to_nobody_is_canceled_too(world: JobWorld) -> None:
    """After its time of grace its process is ended."""
    world.submit(job("t1", "Stubborn"))
    with world.run_worker("--watch-s", "0.05", "--grace-s", "0.1") as daemon:
        daemon.await_log("job t1: infer")
        world.submit(job("t1", "Stubborn", canceled=True))
        assert daemon.wait() == 0
    assert world.state("t1") == "canceled"


def test_case_28_a_removed_job_stops_and_uploads_nothing(world: JobWorld) -> None:
    """Its folder gets a final state that nobody lists, no model and no log."""
    with running(world):
        world.submit(job("other"))
    assert world.response("t1")["termination_reason"] == "job_removed"
    assert _files_of_the_job(world) == {RESPONSE}
    assert world.state("other") == "completed"


def test_case_29_a_deleted_job_leaves_nothing_behind(world: JobWorld) -> None:
    """Entry and folder are gone, and the folder is not made again."""
    with running(world):
        _delete_folder_and_entry(world)
    assert _files_of_the_job(world) == set()
    assert all("finish" not in commit.subject for commit in world.by_worker())


def test_case_30_a_job_that_was_taken_over_is_not_touched_again(world: JobWorld) -> None:
    """The file still names the other worker."""
    with running(world):
        taken = {**world.response("t1"), "worker_id": "somebody else"}
        world.write(RESPONSE, dump_yaml(taken))
        commits = len(world.by_worker())
    assert world.response("t1")["worker_id"] == "somebody else"
    assert world.response("t1")["state"] == "running"
    # One renewal may have been under way; it would have restored our name, so there was none.
    assert len(world.by_worker()) == commits


def test_case_31_a_manifest_in_the_middle_of_a_merge_removes_nothing(world: JobWorld) -> None:
    """The job goes on while the manifest cannot be read, and obeys it again afterwards."""
    world.submit(training("t1", wait_in="train"))
    with world.run_worker(*OFTEN) as daemon:
        daemon.await_log("job t1: train")
        world.write(MANIFEST, "<<<<<<< HEAD\nversion: 1\n=======\n>>>>>>> theirs\n")
        daemon.await_log("the manifest cannot be read at the moment")
        before = world.response("t1")["lease_n"]
        await_true(lambda: world.response("t1")["lease_n"] > before, "another renewal")
        assert world.state("t1") == "running"
        world.submit(training("t1", wait_in="train", canceled=True))
        assert daemon.wait() == 0
    assert world.response("t1")["termination_reason"] == "user_canceled"


def test_a_job_ends_when_its_time_is_over(world: JobWorld) -> None:
    """A deadline that passes while the job runs."""
    with world.run_worker(*OFTEN, "--loop-interval", "0.1") as daemon:
        daemon.await_log("is ready as")  # so that no start-up is counted against the deadline
        world.submit(training("t1", wait_in="train", timeout=_in_seconds(4)))
        await_true(lambda: world.state("t1") == "canceled", "the end")
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
    response = world.response("t1")
    assert (response["state"], response["termination_reason"]) == ("canceled", "timeout")


def test_an_ended_job_leaves_no_process(world: JobWorld) -> None:
    """The child of a canceled job is gone while the daemon lives on."""
    world.submit(training("t1", wait_in="train"))
    with world.run_worker(*OFTEN, "--loop-interval", "0.05") as daemon:
        daemon.await_log("job t1: train")
        assert has_child_processes(daemon.process.pid)
        world.submit(training("t1", wait_in="train", canceled=True))
        await_true(lambda: world.state("t1") == "canceled", "the end")
        assert not has_child_processes(daemon.process.pid)


def _files_of_the_job(world: JobWorld) -> set[str]:
    return {path for path in world.files() if path.startswith(f"{FOLDER}/")}


def _delete_folder_and_entry(world: JobWorld) -> None:
    """The editor's Delete, synced: one push without entry and folder."""
    world.push({MANIFEST: "version: 1\njobs: []\n"}, delete=[FOLDER])


def _in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
