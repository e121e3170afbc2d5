"""Going on inside a file, telling files by their bytes, and waiting before another try."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from support import batch_long
from support.batch_runs import Place
from support.speech import spoken_clip

from batch.kept import KeptSections, SectionStore
from batch.recordings.source import Asset
from batch.state import record
from batch.state.record import Record, Status
from batch.state.resume import Action, Outputs, Wishes, decide, make_plan
from pipelines.asr.whisper.transcript import nothing_heard


@pytest.fixture
def place(tmp_path):
    """An empty one."""
    return Place(tmp_path)


def write_long(path, times=8):
    """A sentence again and again, with pauses to cut in."""
    samples, rate = soundfile.read(spoken_clip("LJ001-0002").path, dtype="float32")
    pause = np.zeros(rate // 2, np.float32)
    soundfile.write(path, np.concatenate([samples, pause] * times), rate)


def run_long(place):
    """To the end; what it said."""
    said, _ = batch_long.start(place.argv("--json")).communicate(timeout=100)
    return [json.loads(line) for line in said.decode().splitlines()]


def test_a_long_recording_goes_on_behind_its_last_section_after_a_kill(place, tmp_path):
    """Killed in the middle, it ends with exactly what an undisturbed run gives, and leaves nothing behind."""
    write_long(place.input / "long.wav")
    undisturbed = Place(tmp_path / "undisturbed")
    shutil.copy(place.input / "long.wav", undisturbed.input)
    assert run_long(undisturbed)[-1]["exit_code"] == 0

    process = batch_long.start(place.argv("--json"))
    try:
        deadline = time.monotonic() + 60
        while not (kept := list(place.input.glob(".*.sections/*/*.json"))):
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.kill()
        process.communicate()
    assert not place.output.exists()
    told = run_long(place)
    assert told[0]["reasons"] == {"interrupted, gone on with": 1}
    assert told[-1]["exit_code"] == 0
    assert kept
    for ending in ("json", "srt"):
        name = f"long.wav.{ending}"
        assert (place.output / name).read_bytes() == (undisturbed.output / name).read_bytes()
    assert not list(place.input.glob(".*"))


def test_a_section_is_heard_once_for_the_same_bytes_and_options(tmp_path):
    """Other bytes, other options or a damaged file: it is heard again."""
    heard = []

    def once(asset, options="o"):
        told = SectionStore(tmp_path / "batch_state.json", options).told(asset)
        transcript = nothing_heard(9.0, "en")
        return KeptSections.parse(told).once(0, 9, lambda: heard.append(1) or transcript)

    asset = Asset("talk/über.mp3", "x", sha256="one")
    assert once(asset) == once(asset)
    assert len(heard) == 1
    once(replace(asset, sha256="two"))
    once(asset, "p")
    assert len(heard) == 3
    (path,) = tmp_path.glob(".batch_state.sections/*/*.json")
    path.write_text('{"identity": "one o"')
    once(asset)
    assert len(heard) == 4
    once(replace(asset, sha256=""))
    once(replace(asset, sha256=""))
    assert len(heard) == 6


def test_sections_of_recordings_that_nobody_asks_for_are_swept_away(tmp_path):
    """So they never pile up."""
    store = SectionStore(tmp_path / "batch_state.json", "o")
    for name in ("a.mp3", "b.mp3"):
        told = store.told(Asset(name, "x", sha256=name))
        KeptSections.parse(told).once(0, 9, lambda: nothing_heard(9.0))
    store.sweep(["b.mp3"])
    assert (store.has("a.mp3"), store.has("b.mp3")) == (False, True)
    store.forget("b.mp3")
    assert not list(tmp_path.glob(".*"))


def test_a_recording_is_told_by_its_bytes_on_request(place):
    """A touched file is done, and known by its new time from then on; another one of the same size and time is not."""
    place.record("same.mp3", "else.mp3")
    place.run()
    written = (place.input / "else.mp3").stat()
    (place.input / "else.mp3").write_text("ELSE.MP3")
    os.utime(place.input / "else.mp3", ns=(written.st_atime_ns, written.st_mtime_ns))
    os.utime(place.input / "same.mp3", ns=(1, 1))
    place.run("--verify")
    assert place.events[0]["reasons"] == {"already done": 1, "recording changed, done again": 1}
    assert place.said().count("ELSE.MP3") == 1
    assert place.said().count("same.mp3") == 1
    place.run()
    assert place.events[0]["reasons"] == {"already done": 2}


def test_recordings_of_the_same_bytes_are_heard_once(place):
    """Each has its own outputs, also one that comes later; a twin of a failed one fails with it."""
    place.record("a.mp3", "b.mp3", "bad.mp3")
    for copy, original in {"x/a-again.mp3": "a.mp3", "worse.mp3": "bad.mp3"}.items():
        (place.input / copy).parent.mkdir(exist_ok=True)
        shutil.copy(place.input / original, place.input / copy)
    assert place.run("--skip-duplicates").exit_code == 80
    assert sorted(place.said()) == ["a.mp3", "b.mp3"]
    again = json.loads((place.output / "x" / "a-again.mp3.json").read_text("utf-8"))
    assert (again["source"], again["text"]) == ("x/a-again.mp3", "a.mp3")
    assert (place.output / "x" / "a-again.mp3.srt").stat().st_size
    files = json.loads(place.state_path.read_text("utf-8"))["files"]
    assert files["x/a-again.mp3"]["duplicateOf"] == "a.mp3"
    assert files["x/a-again.mp3"]["sha256"] == files["a.mp3"]["sha256"]
    assert {files[name]["status"] for name in ("bad.mp3", "worse.mp3")} == {"failed"}
    shutil.copy(place.input / "b.mp3", place.input / "late.mp3")
    place.run("--skip-duplicates")
    assert sorted(place.said()) == ["a.mp3", "b.mp3"]
    assert place.statuses()["late.mp3"] == "complete"


def test_what_may_succeed_is_tried_again_last_and_not_at_once():
    """Later after each attempt; what failed for good, or was asked for, does not wait."""
    failed = Record(Status.FAILED, error_code="OOM_GPU", attempts=1, failed_at=1000.0)
    twice = replace(failed, attempts=2)
    assets = [Asset(name, name) for name in ("once", "twice", "good", "new")]
    records = {"once": failed, "twice": twice, "good": replace(failed, error_code="CHILD_CRASH")}
    plan = make_plan(
        assets,
        {"once", "twice", "good", "new"},
        records,
        Wishes("x", retry_failed=True),
        Outputs(lambda *_: True, lambda _: True),
    )
    assert [(asset.name, asset.due_at) for asset in plan.todo] == [
        ("good", 0.0),
        ("new", 0.0),
        ("once", 1000.0 + record.BACK_OFF_S),
        ("twice", 1000.0 + 2 * record.BACK_OFF_S),
    ]


def test_a_retry_waits_in_the_run_itself(place, monkeypatch):
    """A run that is started again at once does not use up the attempts in a moment."""
    monkeypatch.setattr(record, "BACK_OFF_S", 1.0)
    place.record("a.mp3", "b.mp3")
    place.run()
    state = json.loads(place.state_path.read_text("utf-8"))
    failed_at = time.time()
    state["files"]["a.mp3"] |= {
        "status": "failed",
        "lastErrorCode": "OOM_GPU",
        "failedAt": failed_at,
    }
    place.state_path.write_text(json.dumps(state))
    assert place.run().exit_code == 0
    assert time.time() >= failed_at + 1.0
    assert place.said().count("a.mp3") == 2


def test_an_interrupted_recording_is_gone_on_with_if_there_is_something_of_it():
    """Otherwise it is simply done again."""
    running = Record(Status.RUNNING)
    asset = Asset("a.mp3", "a.mp3")
    for is_begun, action in ((True, Action.CONTINUED), (False, Action.INTERRUPTED)):
        outputs = Outputs(lambda *_: False, lambda _: False, lambda _, begun=is_begun: begun)
        assert decide(asset, running, Wishes("x"), outputs) is action
