"""Whisper with real weights on real speech."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import soundfile
from support.sound import tone, write_browser_webm
from support.speech import spoken_clip

from pipelines.asr.whisper import weights
from pipelines.asr.whisper.engine import Listening, Mode, open_engine
from pipelines.asr.whisper.files import transcribe_files
from pipelines.asr.whisper.transcript import Flag, Transcript
from pipelines.audio.decode import decode
from pipelines.errors import AudioUnreadable, DeviceUnavailable, ModelNotFound
from pipelines.progress import ignore_progress
from pipelines.text.metrics import spoken_error_rates

RATE = 16_000
ENGINE = "faster-whisper"
BOTH_WAYS = [Listening(), Listening(mode=Mode.SEQUENTIAL)]
VERSES = ["LJ001-0002", "LJ001-0008", "LJ001-0004", "austen_0880"]


@pytest.fixture(scope="module")
def engine():
    """The bundled tiny.en model."""
    return open_engine(ENGINE, "tiny", threads=1)


def hear(engine, path, listening=BOTH_WAYS[0], progress=ignore_progress):
    """One recording's transcript."""
    (transcript,) = engine.transcribe([decode(path).samples], listening, progress)
    return transcript


@pytest.mark.parametrize("listening", BOTH_WAYS, ids=["batched", "sequential"])
@pytest.mark.parametrize("name", ["jfk_inaugural", "LJ001-0004"])
def test_recorded_speech_is_understood(engine, name, listening):
    """Several speakers, within a tenth of the characters, cut either way."""
    clip = spoken_clip(name)
    transcript = hear(engine, clip.path, listening)
    assert spoken_error_rates([clip.text], [transcript.text]).cer <= 0.1
    assert transcript.duration_s == pytest.approx(clip.seconds, abs=0.05)
    assert transcript.language == "en"
    assert 0.4 < transcript.confidence <= 1.0
    assert transcript.flags == ()


@pytest.mark.parametrize("listening", BOTH_WAYS, ids=["batched", "sequential"])
def test_words_and_segments_are_in_order_and_inside_the_recording(engine, listening):
    """No overlap, no time outside, and the words make up the text."""
    transcript = hear(engine, spoken_clip("jfk_inaugural").path, listening)
    for parts in (transcript.segments, [w for s in transcript.segments for w in s.words]):
        times = [edge for part in parts for edge in (part.start_s, part.end_s)]
        assert times == sorted(times)
        assert times[0] >= 0.0
        assert times[-1] <= transcript.duration_s
    assert " ".join(segment.text for segment in transcript.segments) == transcript.text
    assert "".join(w.text for s in transcript.segments for w in s.words).strip() == transcript.text


def test_words_have_the_same_times_in_a_short_window_as_in_a_full_one(engine):
    """Two ways of cutting agree within a tenth of a second on nearly every word."""
    clip = spoken_clip("LJ001-0004")
    found = [
        {
            word.text.strip(" ,."): word.start_s
            for s in hear(engine, clip.path, way).segments
            for word in s.words
        }
        for way in BOTH_WAYS
    ]
    shared = found[0].keys() & found[1].keys()
    assert len(shared) >= 8
    close = [abs(found[0][word] - found[1][word]) <= 0.1 for word in shared]
    assert sum(close) >= 0.8 * len(close)


def test_verses_heard_together_are_as_right_as_one_by_one(engine):
    """Sharing a window costs nothing in accuracy, and results keep their places."""
    clips = [spoken_clip(name) for name in VERSES]
    together = engine.transcribe([decode(clip.path).samples for clip in clips], Listening(beam=1))
    alone = [hear(engine, clip.path, Listening(beam=1, mode=Mode.SEQUENTIAL)) for clip in clips]
    texts = [clip.text for clip in clips]
    assert (
        spoken_error_rates(texts, [heard.text for heard in together]).wer
        <= spoken_error_rates(texts, [heard.text for heard in alone]).wer + 0.05
    )


def test_a_transcript_survives_the_way_to_another_process(engine):
    """Everything is plain data and comes back the same."""
    transcript = hear(engine, spoken_clip("LJ001-0002").path)
    assert Transcript.parse(json.loads(json.dumps(transcript.to_json()))) == transcript


@pytest.mark.parametrize("listening", BOTH_WAYS, ids=["batched", "sequential"])
@pytest.mark.parametrize("sound", [np.zeros(3 * RATE, np.float32), tone(3.0)], ids=["0", "tone"])
def test_where_nobody_speaks_nothing_is_invented(engine, sound, listening):
    """Silence and humming give no text."""
    (transcript,) = engine.transcribe([sound], listening)
    assert transcript.text == ""
    assert transcript.flags == (Flag.NO_SPEECH,)


def test_long_silence_inside_a_recording_is_left_out_and_times_stay_right(engine):
    """Two sentences a minute apart: both heard, the second at its own time."""
    samples = decode(spoken_clip("LJ001-0002").path).samples
    far_apart = np.concatenate([samples, np.zeros(60 * RATE, np.float32), samples])
    (transcript,) = engine.transcribe([far_apart], Listening(beam=1))
    second = [s for s in transcript.segments if s.start_s > 30]
    assert second[0].start_s == pytest.approx(len(samples) / RATE + 60, abs=0.6)
    assert len(transcript.segments) == 2 * len(second)


def test_a_browser_recording_is_understood(engine, tmp_path):
    """WebM without duration goes straight in."""
    clip = spoken_clip("LJ001-0002")
    samples, _ = soundfile.read(clip.path, dtype="float32")
    upsampled = np.repeat(samples, 3)
    path = write_browser_webm(tmp_path / "take.webm", upsampled)
    assert spoken_error_rates([clip.text], [hear(engine, path).text]).cer <= 0.15


@pytest.mark.parametrize("listening", BOTH_WAYS, ids=["batched", "sequential"])
def test_progress_may_stop_it(engine, listening):
    """A cancel is noticed between pieces."""

    class Stopped(BaseException):
        pass

    def stop(message, *, epoch=None, fraction=None):
        if fraction > 0.0:
            raise Stopped

    with pytest.raises(Stopped):
        hear(engine, spoken_clip("jfk_inaugural").path, listening, stop)


def test_a_language_is_known_or_refused(engine):
    """An English model must not pretend to hear another language."""
    path = spoken_clip("LJ001-0008").path
    assert hear(engine, path, Listening(language="en-GB", beam=1)).language == "en"
    with pytest.raises(ModelNotFound, match="sw"):
        hear(engine, path, Listening(language="sw"))


def test_what_runs_is_shown(engine):
    """Device and number format are told, never chosen silently."""
    assert str(engine.info).startswith("faster-whisper, model tiny, on cpu in int8")


def test_rubbish_fails_alone(engine, tmp_path):
    """The recordings around it are transcribed."""
    (tmp_path / "take.webm").write_bytes(b"nothing")
    good = spoken_clip("LJ001-0002").path
    results = list(
        transcribe_files(engine, [good, tmp_path / "take.webm", good], Listening(beam=1))
    )
    assert isinstance(results[1], AudioUnreadable)
    assert results[0].text == results[2].text != ""


def test_weights_that_are_not_there_are_named(tmp_path, monkeypatch):
    """The message says what to set or install."""
    with pytest.raises(ModelNotFound, match=r"model\.bin"):
        open_engine(ENGINE, tmp_path)
    monkeypatch.setattr(weights, "BUNDLED", "a_package_that_is_not_installed")
    with pytest.raises(ModelNotFound, match="demo-models"):
        open_engine(ENGINE, "tiny")


def test_damaged_weights_are_refused(tmp_path):
    """In words."""
    (tmp_path / "model.bin").write_bytes(b"\x06\x00\x00\x00nothing")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelNotFound, match="cannot be loaded"):
        open_engine(ENGINE, tmp_path)


def test_missing_hardware_and_unknown_precision_are_named():
    """Both are the operator's settings."""
    with pytest.raises(DeviceUnavailable, match="GPU"):
        open_engine(ENGINE, "tiny", device="cuda:99")
    with pytest.raises(DeviceUnavailable, match="gpu0"):
        open_engine(ENGINE, "tiny", device="gpu0")
    with pytest.raises(DeviceUnavailable, match="int2"):
        open_engine(ENGINE, "tiny", precision="int2")


def test_an_unknown_engine_is_named():
    """With those that there are."""
    with pytest.raises(ModelNotFound, match="faster-whisper, openai-whisper"):
        open_engine("siri", "tiny")


def test_the_reference_engine_names_its_extra(monkeypatch):
    """It is not installed by default."""
    monkeypatch.setitem(sys.modules, "whisper", None)
    with pytest.raises(ModelNotFound, match="whisper-reference"):
        open_engine("openai-whisper", "base")
