"""Interop cases 13, 26, 36 to 38, 48 and 51: what the other areas leave to whole daemons and crashes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from durability.crash_world import NOTEBOOK, CrashWorld
from support.codex_builders import as_bytes, take
from support.daemon import Daemon, await_true
from support.gitlab_clients import asked
from support.job_world import JobWorld, job, training

OFTEN = ("--watch-s", "0.1", "--heartbeat-s", "0.3")
IMPATIENT = ("--request-s", "0.3", "--rest-s", "0.3")
OUTAGE_S = 3.0
PUBLISH_S = 2.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[JobWorld]:
    """One project."""
    with JobWorld(tmp_path) as world:
        yield world


def test_case_13_of_two_workers_that_see_a_stale_claim_one_takes_over(tmp_path: Path) -> None:
    """Both start at once; one commit takes the job, one ends it."""
    with CrashWorld(tmp_path, "answers") as stage:
        world = stage.world
        with world.run_worker(name="one") as one, world.run_worker(name="two") as two:
            assert (one.wait(), two.wait()) == (0, 0)
        subjects = [commit.subject for commit in world.by_worker() if "silent" in commit.subject]
        assert world.response("silent")["worker_id"] in ("one", "two")
    assert [subject.split(" job")[0] for subject in subjects] == [
        "scriptorium: take over",
        "scriptorium: finish (completed)",
    ]


def test_case_26_a_server_that_is_away_for_a_while_goes_unnoticed_by_the_job(
    world: JobWorld, tmp_path: Path
) -> None:
    """Every connection is dropped for ten times as long as a request is tried and a heartbeat lasts.

    In proportion that is ten minutes at a minute each; `make chaos ARGS="--only outage"` takes them whole.
    """
    gate, beats = tmp_path / "gate", tmp_path / "beats"
    world.submit(training("t1", wait_in="train", gate=str(gate), beats=str(beats)))
    with world.run_worker(*OFTEN, *IMPATIENT) as daemon:
        daemon.await_log("job t1: train")
        world.server.set_faults(action="drop")
        daemon.await_log("could not look after the lease, going on")
        before = beats.stat().st_size
        time.sleep(OUTAGE_S)
        assert beats.stat().st_size > before
        world.clear_faults()
        gate.touch()
        assert daemon.wait() == 0
        log = daemon.log
    assert world.state("t1") == "completed"
    assert world.response("t1")["attempt"] == 1
    assert "stopping job" not in log
    assert "going on with job" not in log


def test_an_end_is_written_however_long_the_server_was_away(
    world: JobWorld, tmp_path: Path
) -> None:
    """The job ends in the middle of an outage; its end is tried again far beyond one request's time."""
    gate = tmp_path / "gate"
    world.submit(training("t1", wait_in="upload", gate=str(gate)))
    with world.run_worker(*OFTEN, *IMPATIENT) as daemon:
        _await_upload(world, daemon)
        world.server.set_faults(action="drop")
        gate.touch()
        daemon.await_log("a write did not go through, trying again")
        time.sleep(OUTAGE_S)
        assert "could not be written yet" not in daemon.log
        world.clear_faults()
        assert daemon.wait() == 0
    assert world.state("t1") == "completed"
    ends = [commit for commit in world.by_worker() if "finish" in commit.subject]
    assert len(ends) == 1


@pytest.mark.slow
def test_the_end_is_tried_as_long_as_the_setting_says_and_then_by_the_next_turn(
    world: JobWorld, tmp_path: Path
) -> None:
    """Not shorter; what was finished is kept, and written when the server is back."""
    gate = tmp_path / "gate"
    world.submit(training("t1", wait_in="upload", gate=str(gate)))
    shortly = ("--publish-s", str(PUBLISH_S), "--loop-interval", "0.1")
    with world.run_worker(*OFTEN, *IMPATIENT, *shortly) as daemon:
        _await_upload(world, daemon)
        world.server.set_faults(action="drop")
        ended = time.monotonic()
        gate.touch()
        daemon.await_log("could not be written yet")
        assert time.monotonic() - ended >= PUBLISH_S
        world.clear_faults()
        await_true(lambda: world.state("t1") == "completed", "the end")
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
    assert world.response("t1")["attempt"] == 1


def _await_upload(world: JobWorld, daemon: Daemon) -> None:
    """Wait until the job has sent its model and waits for the gate."""
    daemon.await_log("job t1: upload")
    await_true(lambda: asked(world.server, "PUT lfs object") > 0, "the model on the server")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("files/target/MAT.codex", "was refused"),
        ("gpu_jobs/job_x/../../metadata.json", "was refused"),
        ("gpu_jobs/job_x/checkpoint/best_model.pt", "is not in the project"),
    ],
)
def test_cases_36_to_38_a_base_model_that_cannot_be_had_fails_the_job_and_is_not_replaced(
    world: JobWorld, path: str, said: str
) -> None:
    """Outside the jobs' folder, climbing out of it, or simply not there; nothing is downloaded."""
    world.submit(job("a1", {"type": "Borrower", "base_checkpoint": path}))
    world.run_to_end()
    response = world.response("a1")
    assert response["state"] == "failed"
    assert said in response["error_message"]
    assert not [name for name in world.server.requests()["endpoints"] if "lfs" in name.lower()]


def test_case_48_a_recording_made_meanwhile_stays_the_selected_one(tmp_path: Path) -> None:
    """A person records the verse that the job has spoken, before the job can publish."""
    with CrashWorld(tmp_path, "work") as stage:
        assert stage.run("ending.saved")
        content = stage.world.read(NOTEBOOK)
        assert content is not None
        notebook = json.loads(content)
        now_ms = int(time.time() * 1000)
        verse = notebook["cells"][1]["metadata"]
        verse |= {"attachments": take("audio-own", now_ms), "selectedAudioId": "audio-own"}
        verse["selectionTimestamp"] = now_ms
        stage.world.write(".project/attachments/pointers/MAT/audio-own.webm", b"a person's voice")
        stage.world.write(NOTEBOOK, as_bytes(notebook))
        assert not stage.run()
        after = json.loads(stage.world.read(NOTEBOOK) or b"")["cells"][1]["metadata"]
        assert stage.world.state("busy") == "completed"
    assert after["selectedAudioId"] == "audio-own"
    assert after["attachments"]["audio-own"] == verse["attachments"]["audio-own"]


def test_case_51_a_crash_between_upload_and_final_response_doubles_nothing(tmp_path: Path) -> None:
    """The objects are sent, nothing is committed; the second run commits once."""
    with CrashWorld(tmp_path, "work") as stage:
        assert stage.run("publish.intended")
        await_true(lambda: stage.world.state("busy") == "running", "no end yet")
        assert not stage.run()
        assert stage.wrongs() == []
