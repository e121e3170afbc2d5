"""Whisper with real weights on real speech."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from support.sound import tone, write_browser_webm
from support.speech import spoken_clip

from pipelines.asr.whisper import weights
from pipelines.asr.whisper.engine import Flag, WhisperEngine
from pipelines.errors import AudioUnreadable, DeviceUnavailable, ModelNotFound
from pipelines.text.metrics import spoken_error_rates

RATE = 16_000


@pytest.fixture(scope="module")
def engine():
    """The bundled tiny.en model."""
    return WhisperEngine("tiny", device="cpu")


@pytest.mark.parametrize("name", ["jfk_inaugural", "LJ001-0001", "LJ001-0004", "LJ001-0008"])
def test_recorded_speech_is_understood(engine, name):
    """Several speakers, within a tenth of the characters."""
    clip = spoken_clip(name)
    transcript = engine.transcribe(clip.path)
    assert spoken_error_rates([clip.text], [transcript.text]).cer <= 0.1
    assert transcript.duration_s == pytest.approx(clip.seconds, abs=0.05)
    assert transcript.language == "en"
    assert 0.4 < transcript.confidence <= 1.0
    assert transcript.flags == ()


def test_segments_are_in_order_and_inside_the_recording(engine):
    """No overlap, no time outside."""
    transcript = engine.transcribe(spoken_clip("jfk_inaugural").path)
    times = [edge for segment in transcript.segments for edge in (segment.start_s, segment.end_s)]
    assert times == sorted(times)
    assert times[0] >= 0.0
    assert times[-1] <= transcript.duration_s
    assert " ".join(segment.text for segment in transcript.segments) == transcript.text


@pytest.mark.parametrize("sound", [np.zeros(3 * RATE, np.float32), tone(3.0)])
def test_where_nobody_speaks_nothing_is_invented(engine, tmp_path, sound):
    """Silence and humming give no text."""
    soundfile.write(tmp_path / "quiet.wav", sound, RATE)
    transcript = engine.transcribe(tmp_path / "quiet.wav")
    assert transcript.text == ""
    assert transcript.flags == (Flag.NO_SPEECH,)


def test_a_browser_recording_is_understood(engine, tmp_path):
    """WebM without duration goes straight in."""
    clip = spoken_clip("LJ001-0002")
    samples, _ = soundfile.read(clip.path, dtype="float32")
    upsampled = np.repeat(samples, 3)
    path = write_browser_webm(tmp_path / "take.webm", upsampled)
    transcript = engine.transcribe(path)
    assert spoken_error_rates([clip.text], [transcript.text]).cer <= 0.15


def test_progress_may_stop_it(engine):
    """Segments come one by one, and a cancel is noticed between them."""

    class Stopped(BaseException):
        pass

    def stop(message, *, epoch=None, fraction=None):
        if fraction > 0.0:
            raise Stopped

    with pytest.raises(Stopped):
        engine.transcribe(spoken_clip("jfk_inaugural").path, stop)


def test_a_language_is_known_or_refused():
    """An English model must not pretend to hear another language."""
    WhisperEngine("tiny", language="en-GB")
    with pytest.raises(ModelNotFound, match="sw"):
        WhisperEngine("tiny", language="sw")


def test_rubbish_is_refused(engine, tmp_path):
    """With the reason."""
    (tmp_path / "take.webm").write_bytes(b"nothing")
    with pytest.raises(AudioUnreadable):
        engine.transcribe(tmp_path / "take.webm")


def test_weights_that_are_not_there_are_named(tmp_path, monkeypatch):
    """The message says what to set or install."""
    with pytest.raises(ModelNotFound, match=r"model\.bin"):
        WhisperEngine(tmp_path)
    monkeypatch.setattr(weights, "BUNDLED", "a_package_that_is_not_installed")
    with pytest.raises(ModelNotFound, match="demo-models"):
        WhisperEngine("tiny")


def test_damaged_weights_are_refused(tmp_path):
    """In words."""
    (tmp_path / "model.bin").write_bytes(b"\x06\x00\x00\x00nothing")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelNotFound, match="cannot be loaded"):
        WhisperEngine(tmp_path)


def test_missing_hardware_and_unknown_precision_are_named():
    """Both are the operator's settings."""
    with pytest.raises(DeviceUnavailable, match="GPU"):
        WhisperEngine("tiny", device="cuda:99")
    with pytest.raises(DeviceUnavailable, match="int2"):
        WhisperEngine("tiny", precision="int2")
