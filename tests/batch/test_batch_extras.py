"""What may be added to a transcript, and what becomes of it when that fails: a warning, never a lost file."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest
from support.batch_extras import extra
from support.batch_runs import Place
from support.http_stub import HttpStub, Request
from support.http_stub import Reply as HttpReply
from support.llm_server import LanguageModelServer, Reply, changes, serving

from batch.errors import BadUsage, CannotRun
from batch.settings import load_settings
from batch.stages.extras import chosen_extras
from pipelines.asr.diarize.turns import from_rttm
from pipelines.asr.whisper.outputs import read_result

SECRET = "sk-never-to-be-seen"


@pytest.fixture
def place(tmp_path):
    """An empty one."""
    return Place(tmp_path)


@pytest.fixture
def key(tmp_path, monkeypatch):
    """A key in a file, and none in the environment."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    path = tmp_path / "key.txt"
    path.write_text(f"{SECRET}\n")
    return path


def refined_by(server: LanguageModelServer, key) -> list[str]:
    """The flags that have a server proofread."""
    return ["--refine", f"{server.url}/v1", "--refine-model", "m", "--refine-key-file", str(key)]


def warned(place: Place) -> dict[str, list[str]]:
    """Codes of warnings by file, in the last run."""
    return {
        event["name"]: [one["code"] for one in event["warnings"]]
        for event in place.events
        if event["event"] in ("file", "rebuilt") and event["warnings"]
    }


WHY = {"shy.mp3": "HANDLER_ERROR", "fatal.mp3": "CHILD_CRASH"}


@pytest.mark.parametrize(
    ("isolation", "guilty"),
    [("pool", ["shy.mp3", "fatal.mp3"]), ("stage", ["fatal.mp3"]), ("file", ["shy.mp3"])],
)
def test_an_optional_stage_that_fails_costs_nobody_the_transcript(place, isolation, guilty):
    """Only the guilty file is without it: one that fails, and one that ends the process."""
    place.extras = (extra("Tag"),)
    place.record("a.mp3", *guilty)
    assert place.run("--isolation", isolation).exit_code == 0
    assert set(place.statuses().values()) == {"complete"}
    assert warned(place) == {name: [WHY[name]] for name in guilty}
    assert place.events[-1]["warnings"] == {f"diarize: {WHY[name]}": 1 for name in guilty}
    for name in guilty:
        result = read_result(place.output / f"{name}.json")
        assert result.corrected.transcript.text == name
        assert result.warnings[0]["step"] == "diarize"
        assert not (place.output / f"{name}.rttm").exists()
    (turn,) = from_rttm((place.output / "a.mp3.rttm").read_text())
    assert turn.speaker == "a.mp3"
    assert (place.output / "a.mp3_formatted.txt").read_text() == "a.mp3:\na.mp3\n"
    assert "a.mp3: a.mp3" in (place.output / "a.mp3.srt").read_text()


def test_files_that_were_done_with_a_warning_are_not_done_again(place):
    """And a lost RTTM is made again from the JSON."""
    place.extras = (extra("Tag"),)
    place.record("a.mp3", "shy.mp3")
    place.run()
    (place.output / "a.mp3.rttm").unlink()
    assert place.run().exit_code == 0
    assert sorted(place.said()) == ["a.mp3", "shy.mp3"]
    assert from_rttm((place.output / "a.mp3.rttm").read_text())[0].speaker == "a.mp3"
    assert place.run().exit_code == 0
    assert place.events[0]["reasons"] == {"already done": 2}


def test_a_stage_that_can_never_work_is_found_out_before_the_first_file(place):
    """Kept workers are set up at once; where memory is given back, each file says that it is without."""
    place.extras = (extra("Absent"),)
    place.record("a.mp3", "b.mp3")
    with pytest.raises(CannotRun, match="there are no weights"):
        place.run()
    assert place.run("--isolation", "stage", "--summary", "any").exit_code == 0
    assert sorted(place.said()) == ["a.mp3", "b.mp3"]
    assert read_result(place.output / "a.mp3.json").summary == ""
    assert place.events[-1]["warnings"] == {"diarize: NO_WORKER": 2}


def test_corrections_go_into_a_copy_of_text_and_subtitles(place, key):
    """The server gets the key, and nothing that is written or said has it."""
    (place.input / "a.mp3").write_text("And the earth was without from, and void.")
    with serving(changes((1, "from", "form"))) as server:
        assert place.run(*refined_by(server, key)).exit_code == 0
    text = "And the earth was without form, and void.\n"
    assert text in (place.output / "a.mp3_refined.srt").read_text()
    assert (place.output / "a.mp3_formatted_refined.txt").read_text() == text
    (change,) = json.loads((place.output / "a.mp3_refined_changes.json").read_text())["changes"]
    assert (change["original"], change["corrected"], change["cue"]) == ("from", "form", 1)
    assert "without from" in (place.output / "a.mp3.srt").read_text()
    assert server.keys == {f"Bearer {SECRET}"}
    written = [path.read_text() for path in place.home.rglob("*") if path.is_file() and path != key]
    assert SECRET not in json.dumps(place.events) + "".join(written)
    assert (
        place.run(*refined_by(server, key)).exit_code == 0
    )  # nobody listens any more, nobody is asked
    assert place.events[0]["reasons"] == {"already done": 1}


def test_bedrock_is_asked_with_the_credentials_of_its_tools(place, monkeypatch):
    """Through AWS' own chain; only the address is a test's."""
    place.record("a.mp3")
    with serving(changes()) as server:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": server.url,
        }.items():
            monkeypatch.setenv(name, value)
        flags = ("--refine", "bedrock:anthropic.some-model", "--refine-region", "eu-west-1")
        assert place.run(*flags).exit_code == 0
    assert (place.output / "a.mp3_refined.srt").exists()
    assert "some-model" in server.requests[0][0]
    assert "eu-west-1" in next(iter(server.keys))  # signed for the region


def test_a_rate_limit_is_waited_for(place, key):
    """As long as the server says."""
    place.record("a.mp3")
    busy = Reply("slow down", 429, {"Retry-After": "1"})
    begun = time.monotonic()
    with serving(busy, changes()) as server:
        assert place.run(*refined_by(server, key)).exit_code == 0
    assert len(server.requests) == 2
    assert time.monotonic() - begun >= 1.0
    assert warned(place) == {}
    assert (place.output / "a.mp3_refined.srt").exists()


def test_answers_that_cannot_be_used_are_a_warning_and_the_next_run_asks_again(place, key):
    """Without the model that listens."""
    place.record("a.mp3", "b.mp3")
    with serving(Reply("Sure! Here you go:")) as server:
        assert place.run(*refined_by(server, key)).exit_code == 0
    assert warned(place) == {"a.mp3": ["MODEL_UNAVAILABLE"], "b.mp3": ["MODEL_UNAVAILABLE"]}
    assert place.events[-1]["warnings"] == {"refine: MODEL_UNAVAILABLE": 2}
    assert not list(place.output.glob("*_refined*"))
    with serving(changes()) as server:
        assert place.run("--dry-run", *refined_by(server, key)).exit_code == 0
        assert place.events[0]["reasons"] == {"outputs made again from the stored JSON": 2}
        assert place.run(*refined_by(server, key)).exit_code == 0
    assert len(list(place.output.glob("*_refined.srt"))) == 2
    assert sorted(place.said()) == ["a.mp3", "b.mp3"]


def test_a_server_that_refuses_us_is_not_asked_for_every_file(place, key):
    """A wrong key stays wrong."""
    place.record(*(f"{n}.mp3" for n in range(12)))
    with serving(Reply(f"wrong key {SECRET}", 401)) as server:
        ended = place.run(*refined_by(server, key), "--refine-parallel", "1")
    assert ended.exit_code == 0
    assert len(server.requests) == 1
    assert SECRET not in json.dumps(place.events)
    assert ended.report["warnings"] == {"refine: MODEL_UNAVAILABLE": 12}


def test_the_device_is_not_kept_waiting_by_what_comes_after_it(place, key):
    """Others are proofread while the model works, each at its own pace."""
    place.extras = (extra("Tag"),)
    place.record(*(f"{n}.mp3" for n in range(8)))
    with serving(Reply('{"changes": []}', after_s=0.8)) as server:
        assert place.run(*refined_by(server, key), "--pack", "1", sleep_s=0.4).exit_code == 0
    assert place.busy_share() > 0.7  # one after the other it would be a third


def test_a_kill_while_somebody_proofreads_loses_nothing(place, key):
    """What was in flight is done again, what was finished is not."""
    place.record(*(f"{n}.mp3" for n in range(6)))
    slow = Reply('{"changes": []}', after_s=1.5)
    with serving(changes(), changes(), slow) as server:
        flags = (*refined_by(server, key), "--pack", "1", "--refine-parallel", "1")
        running = place.start(*flags)
        while len(server.requests) < 3 and running.poll() is None:
            time.sleep(0.02)
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
    refined = {
        path.name.removesuffix("_refined.srt") for path in place.output.glob("*_refined.srt")
    }
    assert set(place.said()) - refined, "it was killed too late"
    with serving(changes()) as server:
        assert place.run(*refined_by(server, key)).exit_code == 0
    assert set(place.statuses().values()) == {"complete"}
    assert len(list(place.output.glob("*_refined.srt"))) == 6
    assert max(map(place.said().count, place.said())) <= 2


def test_a_run_that_must_end_at_once_does_not_wait_for_an_answer(place, key):
    """The transcript is there; the next run has it proofread."""
    place.record("a.mp3")
    asked = threading.Event()

    def answer(_request: Request) -> HttpReply:
        asked.set()
        leave.wait(60)
        return HttpReply(500)

    leave = threading.Event()
    with HttpStub(answer) as server:
        flags = (
            "--refine",
            f"{server.url}/v1",
            "--refine-model",
            "m",
            "--refine-key-file",
            str(key),
        )
        running = place.start(*flags)
        assert asked.wait(60)
        for _ in range(2):
            running.send_signal(signal.SIGTERM)
            time.sleep(1.0)
        running.communicate(timeout=60)  # the answer never comes
        leave.set()
    assert running.returncode == 128 + signal.SIGTERM
    assert place.statuses() == {"a.mp3": "complete"}
    with serving(changes()) as refiner:
        assert place.run(*refined_by(refiner, key)).exit_code == 0
    assert place.said() == ["a.mp3"]
    assert (place.output / "a.mp3_refined.srt").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--speakers", "2"],
        ["--diarization", "--speakers", "4-2"],
        ["--diarization", "--speakers", "many"],
        ["--refine", "claude"],
        ["--refine", "http://127.0.0.1:1/v1"],
        ["--refine", f"http://me:{SECRET}@127.0.0.1:1/v1", "--refine-model", "m"],
        ["--refine-model", "m"],
    ],
)
def test_flags_that_cannot_be_meant_are_refused(place, flags):
    """In a sentence that does not repeat a secret."""
    with pytest.raises(BadUsage) as caught:
        place.run(*flags)
    assert SECRET not in str(caught.value)


def test_models_that_are_not_there_are_found_out_before_the_first_file(place):
    """Exit code 69, whichever stage it is for."""
    place.record("a.mp3")
    for flag in ("--align", "--summary"):
        with pytest.raises(CannotRun, match=f"{flag} is not here"):
            chosen_extras(load_settings(place.argv(flag, "./no-model")))


def test_other_optional_stages_are_other_options_without_any_secret(place, key):
    """So that a finished file says with what it was done."""

    def hash_of(*flags: str) -> str:
        return load_settings(place.argv(*flags)).options_hash()

    refine = ("--refine", "openai:m")
    assert hash_of(*refine) == hash_of(*refine, "--refine-key-file", str(key))
    all_of_them = [
        (), ("--diarization",), ("--diarization", "--speakers", "2"), ("--align", "x"),
        ("--summary", "x"), refine,
    ]  # fmt: skip
    assert len({hash_of(*flags) for flags in all_of_them}) == len(all_of_them)
