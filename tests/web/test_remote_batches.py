"""A batch whose work a controller's worker does: killed anywhere, it goes on, and nothing is done twice."""

from __future__ import annotations

import json
import random
import signal
import stat
import subprocess
import time

import pytest
from support.web_servers import await_true


def finished(process: subprocess.Popen[bytes], code: int = 0) -> list[dict]:
    """The events of a batch that ended with this code."""
    output, errors = process.communicate(timeout=100)
    assert process.returncode == code, errors.decode()
    return [json.loads(line) for line in output.splitlines()]


def records(farm):
    """As a person would find them in the state file and its journal."""
    entries = {}
    state = farm.place.state_path
    if state.exists():
        entries.update(json.loads(state.read_text("utf-8"))["files"])
    journal = state.with_suffix(".journal")
    if journal.exists():
        entries.update(json.loads(line) for line in journal.read_text("utf-8").splitlines())
    return entries


def under_way(farm, *names: str, flags: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """A batch whose recordings all have jobs, and a worker that does not end any."""
    farm.place.record(*names)
    farm.start()
    farm.hold()
    process = farm.batch(*flags)
    await_true(lambda: sum("jobId" in one for one in records(farm).values()) == len(names))
    return process


@pytest.mark.slow
def test_a_remote_batch_writes_what_a_local_one_would(farm):
    """All outputs are here, the state tells upload, job and mode, and no secret of the session is in it."""
    farm.place.record("a.mp3", "sub/b.wav")
    farm.start()
    vocabulary = farm.home / "words.json"
    vocabulary.write_text('{"custom_vocabulary": [{"display_as": "Nebuchadnezzar"}]}')
    flags = ("--language", "de", "--vocabulary", str(vocabulary))
    events = finished(farm.batch("--formats", "srt,vtt,txt", *flags))
    assert events[-1]["complete"] == 2
    written = {
        path.relative_to(farm.place.output).as_posix() for path in farm.place.output.rglob("*.*")
    }
    names = ("a.mp3", "sub/b.wav")
    assert written == {f"{name}.{end}" for name in names for end in ("json", "srt", "vtt", "txt")}
    assert "a.mp3" in (farm.place.output / "a.mp3.txt").read_text("utf-8")
    for record in records(farm).values():
        assert record["executionMode"] == "remote"
        assert record["uploadId"].startswith("up_")
        assert record["jobId"].startswith("jb_")
    wishes = farm.wishes()[0]
    assert wishes["language"] == "de"
    assert wishes["vocabulary"].endswith(".json")

    (session,) = (farm.home / "state/scriptorium/sessions").glob("*.json")
    assert stat.S_IMODE(session.stat().st_mode) == 0o600
    secret = json.loads(session.read_text())["session"]
    assert secret not in farm.place.state_path.read_text("utf-8")
    assert finished(farm.batch("--formats", "srt,vtt,txt", *flags))[-1]["total"] == 0


def test_a_killed_batch_follows_its_jobs(farm):
    """The worker goes on meanwhile; nothing is transcribed twice, whether the job's id was noted or not."""
    process = under_way(farm, "a.mp3", "b.mp3", "c.mp3")
    process.kill()
    process.communicate()
    _forget_job_id(farm, "b.mp3")
    farm.let()
    plan = finished(farm.batch())[0]
    assert plan["reasons"] == {"left to the controller, followed": 3}
    assert sorted(farm.began()) == ["a.mp3", "b.mp3", "c.mp3"]
    assert set(farm.place.statuses().values()) == {"complete"}


def _forget_job_id(farm, name):
    """As if the kill had come between the controller's answer and the note of it."""
    journal = farm.place.state_path.with_suffix(".journal")
    lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
    for of, fields in lines:
        if of == name:
            fields.pop("jobId", None)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.slow
def test_a_stopped_batch_leaves_its_jobs_to_the_controller(farm):
    """TERM ends it with 75 while the worker goes on; the same command fetches the results."""
    process = under_way(farm, "a.mp3", "b.mp3")
    process.send_signal(signal.SIGTERM)
    finished(process, 75)
    assert {record["status"] for record in records(farm).values()} == {"running"}
    farm.let()
    finished(farm.batch())
    assert sorted(farm.began()) == ["a.mp3", "b.mp3"]


@pytest.mark.slow
def test_what_was_left_to_a_controller_can_be_canceled(farm):
    """By the batch's own session; the next run leaves it alone until it is told otherwise."""
    process = under_way(farm, "a.mp3", "b.mp3")
    process.kill()
    process.communicate()
    place = ("--input", str(farm.place.input))
    output, errors = farm.batch_program("cancel", *place).communicate(timeout=60)
    assert output.startswith(b"2 jobs canceled"), errors.decode()
    assert set(farm.place.statuses().values()) == {"canceled"}
    farm.let()
    assert finished(farm.batch())[-1]["total"] == 0
    assert finished(farm.batch("--retry-canceled"))[-1]["complete"] == 2


@pytest.mark.slow
def test_a_batch_outlives_its_controller(farm):
    """The controller is killed and started again while jobs wait and run: each is done once."""
    process = under_way(
        farm,
        *(f"{n}.mp3" for n in range(5)),
        flags=(
            "--parallel",
            "5",
        ),
    )
    await_true(farm.began)
    farm.controller.kill()
    farm.let()
    farm.controller.start()
    assert finished(process)[-1]["complete"] == 5
    assert sorted(farm.began()) == [f"{n}.mp3" for n in range(5)]


@pytest.mark.slow
def test_a_controller_that_forgot_everything_gets_its_jobs_again(farm):
    """Running, remote, and unknown: queued again."""
    farm.place.record("a.mp3")
    farm.start()
    farm.hold()
    process = farm.batch()
    await_true(lambda: "jobId" in records(farm).get("a.mp3", {}))
    await_true(farm.began)
    process.kill()
    process.communicate()
    farm.controller.kill()
    for path in (farm.home / "controller").glob("controller.sqlite3*"):
        path.unlink()
    farm.let()
    farm.controller.start()
    finished(farm.batch())
    assert farm.began() == ["a.mp3", "a.mp3"]
    assert farm.place.statuses() == {"a.mp3": "complete"}


@pytest.mark.slow
def test_bad_recordings_fail_alone_with_the_worker_s_own_code(farm):
    """So that the next run knows whether trying again makes sense."""
    farm.place.record("a.mp3", "bad.mp3")
    (farm.place.input / "empty.mp3").touch()
    farm.start()
    finished(farm.batch(), 80)
    found = records(farm)
    assert found["a.mp3"]["status"] == "complete"
    assert found["bad.mp3"]["lastErrorCode"] == "AUDIO_UNREADABLE"
    assert found["empty.mp3"]["lastErrorCode"] == "AUDIO_UNREADABLE"
    assert finished(farm.batch(), 80)[-1]["total"] == 0


@pytest.mark.slow
def test_without_a_controller_nothing_is_begun(farm):
    """Exit code 69, and the words say where one was looked for."""
    farm.place.record("a.mp3")
    farm.controller.port = 9
    _, errors = (process := farm.batch()).communicate(timeout=60)
    assert process.returncode == 69
    assert b"http://127.0.0.1:9" in errors
    assert not farm.place.output.exists()


@pytest.mark.slow
def test_another_model_is_refused_before_anything_is_sent(farm):
    """The worker has one model loaded; the hint names it."""
    farm.place.record("a.mp3")
    farm.start()
    farm.client()
    await_true(lambda: farm.client().ask("GET", "/api/runtime")["remoteWorker"]["connected"])
    _, errors = (process := farm.batch("-m", "large-v3")).communicate(timeout=60)
    assert process.returncode == 69
    assert b"-m tiny" in errors


@pytest.mark.slow
def test_whoever_is_killed_no_recording_is_lost_or_done_over_and_over(farm):
    """Batch, controller and worker in turn, at random moments; then the batch is run until it has nothing to do."""
    names = [f"{n:02}.mp3" for n in range(24)]
    farm.place.record(*names)
    farm.worker.argv += ["--max-concurrent-jobs", "2"]
    farm.worker.environment["SAY_S"] = "0.5"
    farm.start()
    chance = random.Random(7)
    kills = 0
    process = farm.batch("--parallel", "4")
    for _ in range(2):
        for server in (farm.controller, farm.worker, None):
            kills += 1
            await_true(lambda least=3 * kills: len(farm.began()) >= least)
            time.sleep(chance.uniform(0.0, 0.4))
            if server is not None:
                server.kill()
                server.start()
                continue
            process.kill()
            process.communicate()
            process = farm.batch("--parallel", "4")
    process.communicate(timeout=100)
    while process.returncode:
        assert process.returncode == 75
        process = farm.batch("--parallel", "4")
        process.communicate(timeout=100)
    assert set(farm.place.statuses().values()) == {"complete"}
    assert len(list(farm.place.output.glob("*.srt"))) == len(names)
    assert len(farm.began()) - len(names) <= kills * 2
