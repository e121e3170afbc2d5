"""A whole batch on stages that cost nothing: what is written, what is skipped, what fails alone."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from support.batch_runs import Place

from batch.errors import BadData, InputMissing


@pytest.fixture
def place(tmp_path):
    """An empty one."""
    return Place(tmp_path)


def test_every_recording_gets_its_files_where_the_input_has_them(place):
    """Folders are mirrored; two formats of one name do not meet; other files are left alone."""
    place.record("a.mp3", "a.wav", "deep/er/b.flac", "notes.txt", ".hidden.mp3")
    ended = place.run()
    assert ended.exit_code == 0
    assert sorted(path.relative_to(place.output).as_posix() for path in place.output.rglob("*.txt")) == [
        "a.mp3.txt", "a.mp3_formatted.txt", "a.wav.txt", "a.wav_formatted.txt",
        "deep/er/b.flac.txt", "deep/er/b.flac_formatted.txt",
    ]  # fmt: skip
    assert (place.output / "deep/er/b.flac.txt").read_text("utf-8") == "deep/er/b.flac\n"
    assert set(place.statuses().values()) == {"complete"}
    assert oct(place.state_path.stat().st_mode & 0o777) == "0o600"


def test_the_same_command_again_does_nothing(place):
    """And starts no worker for it."""
    place.record("a.mp3", "b.mp3")
    place.run()
    loads = [line for line in place.diary() if line.startswith("load")]
    assert place.run().exit_code == 0
    assert place.events[0]["reasons"] == {"already done": 2}
    assert [line for line in place.diary() if line.startswith("load")] == loads


def test_a_lost_output_is_made_again_without_the_model(place):
    """From the JSON; and where that is lost too, from the recording."""
    place.record("a.mp3", "b.mp3")
    place.run()
    (place.output / "a.mp3.srt").unlink()
    shutil.copy(place.output / "a.mp3.json", place.home / "kept.json")
    (place.output / "b.mp3.json").write_bytes(b"")
    place.run()
    assert place.said().count("a.mp3") == 1
    assert place.said().count("b.mp3") == 2
    assert "a.mp3" in (place.output / "a.mp3.srt").read_text("utf-8")


def test_a_changed_recording_is_done_again_and_a_vanished_one_is_kept_in_mind(place):
    """Size and time tell."""
    place.record("a.mp3", "b.mp3", "c.mp3")
    place.run()
    os.utime(place.input / "a.mp3", ns=(1, 1))
    (place.input / "c.mp3").unlink()
    place.run()
    assert [place.said().count(name) for name in ("a.mp3", "b.mp3", "c.mp3")] == [2, 1, 1]
    assert place.statuses()["c.mp3"] == "missing"


def test_a_file_that_was_away_or_left_out_is_not_done_again(place):
    """Its record waits for it."""
    place.record("a.mp3", "b.mp3")
    place.run()
    (place.input / "b.mp3").rename(place.home / "b.mp3")
    place.run("--skip", "1")
    assert place.statuses() == {"a.mp3": "complete", "b.mp3": "missing"}
    (place.home / "b.mp3").rename(place.input / "b.mp3")
    place.run()
    assert place.statuses() == {"a.mp3": "complete", "b.mp3": "complete"}
    assert sorted(place.said()) == ["a.mp3", "b.mp3"]


def test_other_options_are_said_and_heeded_only_on_request(place):
    """Nobody loses a week's work by another flag."""
    place.record("a.mp3")
    place.run()
    place.run("--language", "sw")
    assert place.said() == ["a.mp3"]
    assert "other options" in next(iter(place.events[0]["reasons"]))
    place.run("--language", "sw", "--redo-changed")
    assert place.said() == ["a.mp3"] * 2


def test_a_file_that_cannot_be_read_fails_alone(place):
    """With its code, also in a pack with others; it is tried again only on request."""
    place.record("a.mp3", "bad.mp3", "c.mp3")
    assert place.run().exit_code == 80
    assert place.statuses() == {"a.mp3": "complete", "bad.mp3": "failed", "c.mp3": "complete"}
    (failed,) = [e for e in place.events if e.get("status") == "failed"]
    assert (failed["code"], failed["message"]) == ("AUDIO_UNREADABLE", "it is bad")
    assert place.events[-1]["failures"] == {"AUDIO_UNREADABLE": 1}
    assert place.run().exit_code == 80
    assert place.events[0]["todo"] == 0
    place.run("--retry-failed")
    assert place.events[0]["todo"] == 1


def test_a_file_that_kills_the_decoder_takes_nobody_along(place):
    """Its pack is taken apart; the others are done."""
    place.record("a.mp3", "deadly.mp3", "z.mp3")
    assert place.run().exit_code == 80
    assert place.statuses() == {"a.mp3": "complete", "deadly.mp3": "failed", "z.mp3": "complete"}
    assert place.events[-1]["failures"] == {"CHILD_CRASH": 1}


@pytest.mark.parametrize("isolation", ["stage", "file"])
def test_stages_may_give_their_memory_back(place, isolation):
    """Same results, failures alone, a child for the model that ends."""
    place.record("a.mp3", "bad.mp3", "deadly.mp3", "d.mp3")
    assert place.run("--isolation", isolation).exit_code == 80
    assert sorted(place.said()) == ["a.mp3", "d.mp3"]
    assert place.events[-1]["failures"] == {"AUDIO_UNREADABLE": 1, "CHILD_CRASH": 1}


def test_it_stops_after_too_many_failures(place):
    """What was not begun stays to be done."""
    place.record(*(f"bad{n}.mp3" for n in range(12)))
    assert place.run("--fail-fast", "--pack", "1", "--parallel", "1").exit_code == 75
    assert list(place.statuses().values()).count("failed") < 12


def test_shards_share_the_work_and_their_states_are_joined(place):
    """No file twice, none left out."""
    place.record(*(f"{n}.mp3" for n in range(7)))
    for part in (1, 2, 3):
        place.run("--shard", f"{part}/3")
    assert sorted(place.said()) == [f"{n}.mp3" for n in range(7)]
    import batch_entry

    parts = [str(path) for path in place.input.glob("batch_state.*-of-3.json")]
    assert len(parts) == 3
    assert batch_entry.main(["merge", "--state", str(place.state_path), *parts]) == 0
    assert set(place.statuses().values()) == {"complete"}
    assert place.run().exit_code == 0
    assert place.events[0]["reasons"] == {"already done": 7}


def test_a_list_of_assets_is_worked_off_from_its_end_and_never_edited(place):
    """Only audio, not the unsorted; addresses from a template."""
    place.record("x1.mp3", "x2.mp3", "x3.mp3", "x4.mp3")
    entries = [
        {"id": "x1", "asset_type": "Audio", "folder_path": "Talks"},
        {"id": "x2", "asset_type": "Audio", "folder_path": "Resources/To Be Sorted"},
        {"id": "x3", "asset_type": "Video"},
        {"id": "x4", "asset_type": "Audio", "url": str(place.input / "x4.mp3")},
    ]
    listed = place.home / "assets_without_embeddings.json"
    listed.write_text(json.dumps({"assets": entries}))
    before = listed.read_bytes()
    flags = place.argv_listed(listed)
    template = f"file://{place.input}/{{id}}.mp3"
    assert place.run_argv([*flags, "--asset-url", template, "--parallel", "1"]).exit_code == 0
    assert place.said() == ["x4.mp3", "x1.mp3"]
    assert listed.read_bytes() == before
    assert (place.output / "x1.srt").exists()
    place.run_argv(
        [*flags, "--asset-url", template, "--skip", "1", "--redo-changed", "--beam", "1"]
    )
    assert place.said() == ["x4.mp3", "x1.mp3", "x1.mp3"]


def test_assets_without_an_address_are_refused(place):
    """Before anything is begun."""
    (place.home / "list.json").write_text('{"assets": [{"id": "x1"}]}')
    with pytest.raises(BadData, match="no address"):
        place.run_argv(["--assets", str(place.home / "list.json")])


def test_a_dry_run_writes_nothing(place):
    """It only says."""
    place.record("a.mp3")
    assert place.run("--dry-run").exit_code == 0
    assert place.events == [{"event": "plan", "todo": 1, "reasons": {"new": 1}}]
    assert not place.output.exists()
    assert [path.name for path in place.input.iterdir()] == ["a.mp3"]


def test_a_place_that_is_not_there_is_named(place):
    """With exit code 66."""
    with pytest.raises(InputMissing, match="nowhere") as caught:
        place.run_argv(["--input", str(place.home / "nowhere")])
    assert caught.value.exit_code == 66


def test_the_old_state_file_is_understood(place):
    """Version 1 goes by base names; what may be two files is asked about; its secrets do not stay in it."""
    place.record("one/talk.mp3", "two/talk.mp3", "two/other.mp3")
    old = {"files": {"other.mp3": {"uploadId": "u", "jobId": "j", "status": "failed", "executionMode": "remote"}},
           "session": "secret-1", "csrfToken": "secret-2"}  # fmt: skip
    place.state_path.write_text(json.dumps(old))
    assert place.run().exit_code == 80
    assert sorted(place.said()) == ["one/talk.mp3", "two/talk.mp3"]
    assert place.statuses()["two/other.mp3"] == "failed"
    assert "secret" not in place.state_path.read_text("utf-8")
    old["files"]["talk.mp3"] = {"status": "complete"}
    place.state_path.write_text(json.dumps(old))
    with pytest.raises(BadData, match="talk"):
        place.run()
    place.run("--yes")
    assert place.statuses()["one/talk.mp3"] == "complete"
