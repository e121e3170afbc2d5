"""The state on disk: nothing lost by a kill, one writer, a cost that does not grow with the batch."""

from __future__ import annotations

import json
import shutil

import pytest

from batch.errors import BadData, Locked
from batch.recordings.source import Asset
from batch.state.file import StateFile, read_state
from batch.state.record import Record, Status
from batch.state.resume import Action, Outputs, Wishes, decide

DONE = Record(Status.COMPLETE, "a.mp3", 10, 5, 1, outputs=("a.mp3.txt",), options_hash="x")


def test_what_was_noted_is_there_after_a_kill(tmp_path):
    """Without a checkpoint, and with a last line that was cut off."""
    with StateFile(tmp_path / "live" / "batch_state.json") as state:
        state.put("a.mp3", DONE)
        state.put("b.mp3", Record(Status.RUNNING))
        assert not state.path.exists()
        shutil.copytree(state.path.parent, tmp_path / "found")
    with (tmp_path / "found" / "batch_state.journal").open("ab") as journal:
        journal.write(b'["c.mp3",{"stat')
    assert read_state(tmp_path / "found" / "batch_state.json") == {
        "a.mp3": DONE,
        "b.mp3": Record(Status.RUNNING),
    }


def test_a_second_runner_is_kept_out(tmp_path):
    """With exit code 81, until the first is gone."""
    path = tmp_path / "batch_state.json"
    with StateFile(path), pytest.raises(Locked) as caught:
        StateFile(path)
    assert caught.value.exit_code == 81
    with StateFile(path) as state:
        assert state.records == {}


def test_the_file_says_what_it_is_and_keeps_what_it_does_not_know(tmp_path):
    """Fields of version 1 survive; their names are those of the design."""
    path = tmp_path / "batch_state.json"
    path.write_text('{"files": {"a.mp3": {"uploadId": "u", "status": "queued_remote"}}, "note": 1}')
    with StateFile(path) as state:
        assert state.records["a.mp3"] == Record(Status.PENDING, upload_id="u")
        state.put("b.mp3", DONE)
    content = json.loads(path.read_text("utf-8"))
    assert (content["schema"], content["version"], content["note"]) == ("batch-state", 2, 1)
    assert content["files"]["b.mp3"] == {
        "status": "complete", "executionMode": "local", "path": "a.mp3", "size": 10, "mtimeNs": 5,
        "attempts": 1, "outputs": ["a.mp3.txt"], "optionsHash": "x", "audioSeconds": 0.0,
        "elapsedSeconds": 0.0,
    }  # fmt: skip
    assert (tmp_path / "batch_state.journal").stat().st_size == 0


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"version": 3}', '{"files": {"a": {"status": "?"}}}']
)
def test_a_damaged_state_is_refused_and_kept(tmp_path, content):
    """Nobody's record is thrown away."""
    path = tmp_path / "batch_state.json"
    path.write_text(content)
    with pytest.raises(BadData):
        StateFile(path)
    assert path.read_text() == content


def _bytes_written(tmp_path, files, monkeypatch):
    """How much goes to disk for a hundred more changes in a batch of so many files."""
    with StateFile(tmp_path / f"{files}.json") as state, monkeypatch.context() as patched:
        state.records.update({f"{n:08}.mp3": DONE for n in range(files)})
        patched.setattr(state, "checkpoint", lambda: pytest.fail("too soon"))
        for number in range(100):
            state.put(f"{number:08}.mp3", DONE)
        return (tmp_path / f"{files}.journal").stat().st_size


def test_a_change_costs_the_same_in_a_large_batch(tmp_path, monkeypatch):
    """One line, whatever the number of files."""
    assert _bytes_written(tmp_path, 20_000, monkeypatch) == _bytes_written(tmp_path, 0, monkeypatch)


def test_checkpoints_wait_until_they_are_cheap_beside_the_work(tmp_path, monkeypatch):
    """Five hundred changes make one due, unless the last one took long."""
    path = tmp_path / "batch_state.json"
    with StateFile(path) as state:
        for number in range(500):
            state.put(str(number), DONE)
        assert len(json.loads(path.read_text())["files"]) == 500
        monkeypatch.setattr(state, "_checkpoint_took_s", 1000.0)
        for number in range(1000):
            state.put(f"more {number}", DONE)
        assert len(json.loads(path.read_text())["files"]) == 500
    assert len(json.loads(path.read_text())["files"]) == 1500


CHANGED = Asset("a.mp3", "a.mp3", 11, 5)
SAME = Asset("a.mp3", "a.mp3", 10, 5)
UNKNOWN = Asset("a.mp3", "https://x/a.mp3")
FAILED = Record(Status.FAILED, size=10, attempts=1)


@pytest.mark.parametrize(
    ("asset", "record", "wishes", "outputs", "action"),
    [
        (SAME, None, {}, (True, True), Action.NEW),
        (SAME, DONE, {}, (True, True), Action.DONE),
        (UNKNOWN, DONE, {}, (True, True), Action.DONE),
        (SAME, DONE, {}, (False, True), Action.REBUILD),
        (SAME, DONE, {}, (False, False), Action.OUTPUT_LOST),
        (CHANGED, DONE, {}, (True, True), Action.INPUT_CHANGED),
        (SAME, DONE, {"options_hash": "y"}, (True, True), Action.OPTIONS_KEPT),
        (SAME, DONE, {"options_hash": "y", "redo_changed": True}, (True, True), Action.OPTIONS_CHANGED),
        (SAME, Record(Status.RUNNING), {}, (False, False), Action.INTERRUPTED),
        (SAME, Record(Status.PENDING), {}, (False, False), Action.NEW),
        (SAME, Record(Status.MISSING), {}, (False, False), Action.NEW),
        (SAME, FAILED, {}, (False, False), Action.FAILED_FOR_GOOD),
        (SAME, FAILED, {"retry_failed": True}, (False, False), Action.RETRIED),
        (CHANGED, FAILED, {}, (False, False), Action.RETRIED),
        (SAME, Record(Status.FAILED, error_code="NETWORK_ERROR", attempts=1), {}, (False, False), Action.RETRIED),
        (SAME, Record(Status.FAILED, error_code="NETWORK_ERROR", attempts=3), {}, (False, False), Action.FAILED_FOR_GOOD),
        (SAME, Record(Status.CANCELED), {}, (False, False), Action.CANCELED),
        (SAME, Record(Status.CANCELED), {"retry_canceled": True}, (False, False), Action.RETRIED),
    ],
)  # fmt: skip
def test_the_table_of_resuming(asset, record, wishes, outputs, action):
    """Row by row."""
    are_whole, can_rebuild = outputs
    there = Outputs(lambda _: are_whole, lambda _: can_rebuild)
    assert decide(asset, record, Wishes(**{"options_hash": "x", **wishes}), there) is action
