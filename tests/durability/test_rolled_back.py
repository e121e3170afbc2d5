"""What a person's sync can undo: the end of a job, an entry of the manifest, a cancel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.daemon import await_true
from support.git_client import Git
from support.job_world import MANIFEST, JobWorld, job, training
from support.manifests import manifest_of

from gitlab_jobs.crashpoints import VARIABLE
from gitlab_jobs.store import FileVersion
from gitlab_jobs.wishes import UserWish
from gitlab_jobs.yaml_text import dump_yaml

RESPONSE = "gpu_jobs/job_a1/response.yaml"
OFTEN = ("--watch-s", "0.1", "--heartbeat-s", "0.5")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[JobWorld]:
    """One project."""
    with JobWorld(tmp_path) as world:
        yield world


def test_an_end_that_a_sync_rolled_back_is_written_again_and_not_run_again(world: JobWorld) -> None:
    """A real push of the older file; the restarted worker restores the end, word for word."""
    world.submit(job("a1"))
    world.run_to_end()
    ended = world.response("a1")
    _push_first_version(world, RESPONSE)
    assert world.state("a1") == "running"
    log = world.run_to_end()
    restored = world.response("a1")
    assert {**restored, "timestamp": None} == {**ended, "timestamp": None}
    assert "claimed job" not in log
    assert [commit.subject.split(" job")[0] for commit in world.by_worker()] == [
        "scriptorium: claim",
        "scriptorium: finish (completed)",
        "scriptorium: restore the end of",
    ]


def test_a_running_worker_restores_an_end_too_and_only_once(world: JobWorld) -> None:
    """Found by the ordinary scan; the next polls write nothing more."""
    world.submit(job("a1"))
    with world.run_worker("--loop-interval", "0.1") as daemon:
        daemon.await_log("job a1 ended: completed")
        _push_first_version(world, RESPONSE)
        daemon.await_log("restored completed of job a1")
        world.submit(job("a1"), job("a2"))
        daemon.await_log("job a2 ended: completed")
        daemon.process.terminate()
        assert daemon.wait() == 0
    assert daemon.log.count("restored completed") == 1
    assert daemon.log.count("claimed job a1") == 1


def test_an_end_rolled_back_to_another_workers_claim_is_restored(world: JobWorld) -> None:
    """The job had been taken over; the sync brought back what its first owner had written."""
    world.submit(job("a1"))
    world.run_to_end()
    earlier = {"worker_id": "gone", "state": "running", "timestamp": "2026-03-10T08:00:00Z"}
    world.write(RESPONSE, dump_yaml(earlier))
    log = world.run_to_end()
    assert world.state("a1") == "completed"
    assert "claimed job" not in log
    assert "take over" not in log


def test_an_end_rolled_back_before_its_worker_was_back_is_found_in_the_history(
    world: JobWorld,
) -> None:
    """Killed right after the final commit, and a sync undid the file before the restart."""
    world.submit(job("a1"))
    with world.run_worker(environment={VARIABLE: "publish.acted"}) as daemon:
        daemon.wait()
    _push_first_version(world, RESPONSE)
    assert world.state("a1") == "running"
    log = world.run_to_end()
    assert world.state("a1") == "completed"
    assert "job a1 ended" not in log


def test_an_entry_that_is_back_at_the_next_look_stops_nothing(
    world: JobWorld, tmp_path: Path
) -> None:
    """Gone in one version of the manifest, there in the next: the job runs to its end."""
    there = FileVersion(MANIFEST, manifest_of(training("t1")), "", "")
    gone = FileVersion(MANIFEST, manifest_of(job("other")), "", "")
    broken = FileVersion(MANIFEST, b"<<<<<<< HEAD\n", "", "")
    wish = UserWish("t1")
    assert [wish.look(version) for version in (gone, there, gone, broken, gone, None)] == [None] * 6
    assert not wish.is_in_doubt
    assert [wish.look(version) for version in (gone, gone)] == [None, "job_removed"]


def test_a_cancel_stays_a_cancel_when_a_sync_and_a_crash_undo_it(world: JobWorld) -> None:
    """Seen once, then the worker died, then the entry read `canceled: false` again."""
    world.submit(training("t1", wait_in="train"))
    with world.run_worker(*OFTEN, environment={VARIABLE: "ending.intended"}) as daemon:
        daemon.await_log("job t1: train")
        world.submit(training("t1", wait_in="train", canceled=True))
        daemon.wait()
    world.submit(training("t1", wait_in="train"))
    world.run_to_end(*OFTEN)
    response = world.response("t1")
    assert (response["state"], response["termination_reason"]) == ("canceled", "user_canceled")


def test_what_was_finished_is_not_published_for_a_job_that_was_removed_meanwhile(
    world: JobWorld,
) -> None:
    """The worker died between the end of the work and its publication; the user removed the entry."""
    world.submit(training("t1"))
    with world.run_worker(*OFTEN, environment={VARIABLE: "ending.saved"}) as daemon:
        daemon.wait()
    world.submit(job("other"))
    world.run_to_end(*OFTEN)
    assert world.response("t1")["termination_reason"] == "job_removed"
    assert {path for path in world.files() if "job_t1/" in path} == {
        "gpu_jobs/job_t1/response.yaml"
    }


def test_an_end_that_cannot_be_written_is_written_by_a_later_turn(world: JobWorld) -> None:
    """The server takes no commits for longer than the worker tries; it comes back to it by itself."""
    world.submit(training("t1"))
    endpoint = "/projects/:id/repository/commits"
    quickly = ("--publish-s", "0.3", "--loop-interval", "0.1")
    with world.run_worker(*OFTEN, *quickly) as daemon:
        await_true(lambda: world.state("t1") == "running", "a claim")
        world.server.set_faults(
            action="status", status=503, method="POST", endpoint=endpoint, count=10_000
        )
        daemon.await_log("could not be written yet")
        requests.delete(f"{world.server.url}/-/faults", timeout=10).raise_for_status()
        daemon.await_log("job t1 ended: completed")
        daemon.process.terminate()
        assert daemon.wait() == 0
    assert world.state("t1") == "completed"


def _push_first_version(world: JobWorld, path: str) -> None:
    """What the editor's sync does with a file that it had before and the server has changed."""
    folder, git = world.clone().name, Git(world.directory)
    first = git("log", "--reverse", "--format=%H", "--", path, cwd=folder).stdout.split()[0]
    git("checkout", first, "--", path, cwd=folder)
    git("commit", "--quiet", "--message", "Merge branch 'origin/main'", cwd=folder)
    git("push", "--quiet", cwd=folder)
