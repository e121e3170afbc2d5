"""What a batch does about memory: less of it on a small GPU, and workers that stay only if they fit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.batch_runs import TESTS, Place, tasks

from batch.crew import ROOT
from batch.settings import load_settings
from runner.peak import Peak
from runner.task import TaskSpec


@pytest.fixture
def place(tmp_path):
    """An empty one."""
    return Place(tmp_path)


def on_a_small_gpu(place: Place, model: str = "small"):
    """The real transcribing task before an engine that needs too much memory."""
    options = {
        "engine": {"name": "faster-whisper", "model": model, "precision": "float16", "threads": 1},
        "listening": {"language": "en", "mode": "batched", "beam": 1, "batch_size": 24},
        "vocabulary": {"vocabulary": None, "replacements": None},
        "learned": {"folder": str(place.home / "learned"), "device": "NVIDIA T4"},
    }  # fmt: skip
    listen = TaskSpec("support.small_gpu:Transcribe", options, (ROOT, TESTS))
    return replace(tasks(place.home / "diary", 0.0), transcribe=listen)


def memory_of(place: Place, name: str) -> dict:
    """What a written transcript says of memory."""
    return json.loads((place.output / f"{name}.json").read_text("utf-8"))["engine"]["memory"]


@pytest.mark.parametrize("isolation", ["pool", "stage"])
def test_a_gpu_that_is_too_small_costs_time_and_no_recording(place, isolation):
    """Half the batch, then half the width; the transcript says so, and the next run begins there."""
    place.tasks = on_a_small_gpu(place)
    place.record("a.mp3")
    assert place.run("--isolation", isolation).exit_code == 0
    first = memory_of(place, "a.mp3")
    steps = [attempt["rung"] for attempt in first["tries"]]
    # The model is loaded with what it was asked for; what it hears is what does not fit.
    assert steps == ["start", "retry", "halve", "halve", "halve", "halve"]
    assert (first["plan"]["batch"], first["plan"]["precision"]) == (1, "int8")

    place.record("b.mp3")
    assert place.run("--isolation", isolation).exit_code == 0
    assert memory_of(place, "b.mp3") == {"plan": first["plan"], "tries": []}


def test_a_model_that_never_fits_fails_the_recording_with_every_try(place):
    """In the state, where the next run finds it."""
    place.tasks = on_a_small_gpu(place, model="huge")
    place.record("a.mp3")
    assert place.run().exit_code == 75
    record = json.loads(place.state_path.read_text("utf-8"))["files"]["a.mp3"]
    assert record["lastErrorCode"] == "OOM_GPU"
    assert "GPU memory did not suffice" in record["lastErrorMessage"]
    assert "precision (batch 1, int8 on cuda)" in record["lastErrorMessage"]


def loads(place: Place) -> int:
    """How often the model was loaded so far."""
    return sum(line.startswith("load") for line in place.diary())


def chosen(place: Place) -> list[str]:
    """What the last run said about isolation."""
    return [event["isolation"] for event in place.events if event["event"] == "isolation"]


def test_the_first_file_measures_and_the_rest_keeps_its_workers_where_they_fit(place):
    """The next batch knows already."""
    flags = ("--isolation", "auto", "--pack", "1")
    place.record("a.mp3", "b.mp3", "c.mp3")
    assert place.run(*flags).exit_code == 0
    assert (loads(place), chosen(place)) == (2, ["kept"])
    place.record("d.mp3", "e.mp3")
    assert place.run(*flags).exit_code == 0
    assert (loads(place), chosen(place)) == (3, ["kept"])
    assert set(place.statuses().values()) == {"complete"}


def test_where_workers_do_not_fit_beside_each_other_one_stage_goes_at_a_time(place, monkeypatch):
    """The line that says so has the numbers."""
    monkeypatch.setattr("batch.auto.free_memory", lambda: Peak(host_bytes=1 << 20))
    place.record("a.mp3", "b.mp3", "c.mp3")
    assert place.run("--isolation", "auto", "--pack", "1").exit_code == 0
    assert (loads(place), chosen(place)) == (2, ["staged"])
    (line,) = [event["reason"] for event in place.events if event["event"] == "isolation"]
    assert "GiB host memory" in line
    assert sorted(place.said()) == ["a.mp3", "b.mp3", "c.mp3"]


def test_one_pack_needs_no_choice(place):
    """It is measured for the next time."""
    place.record("a.mp3", "b.mp3")
    assert place.run("--isolation", "auto").exit_code == 0
    assert (loads(place), chosen(place)) == (1, [])
    assert (place.home / "learned" / "memory_peaks.json").exists()


def test_whoever_says_nothing_gets_the_choice_by_memory(place):
    """As the help tells."""
    assert load_settings(["--input", str(place.input)]).isolation == "auto"
