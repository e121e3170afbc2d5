"""What looks wrong is decoded again with other settings, and what stays wrong is flagged, not dropped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.asr.whisper.batched import Batched
from pipelines.asr.whisper.engine import Listening
from pipelines.asr.whisper.transcript import Flag, Transcript
from pipelines.asr.whisper.windows import Decoded

RUNAWAY = Decoded("and so on " * 40, (), 0.9, 0.0, "en", 1.0)
RIGHT = replace(RUNAWAY, text="In the beginning was the Word.")


class Windows:
    """A decoder that is wrong in some settings; remembers which it was asked for."""

    is_multilingual = False

    def __init__(self, right_when):
        self._right_when = right_when
        self.asked = []

    def decode(self, chunks, listening, *, is_full=False):
        self.asked.append((is_full, bool(listening.prompt)))
        is_right = self._right_when(is_full, bool(listening.prompt))
        return [RIGHT if is_right else RUNAWAY for _ in chunks]


class Sampling:
    """The last resort."""

    def __init__(self, text):
        self._text = text

    def transcribe(self, samples, listening):
        return Transcript(self._text, (), "en", 1.0, 4.0, 0.9 if self._text else 0.0)


@pytest.fixture
def speech(monkeypatch):
    """Five seconds that count as speech throughout."""
    everything = [{"start": 0, "end": 80_000}]
    monkeypatch.setattr("pipelines.asr.whisper.chunks.get_speech_timestamps", lambda *_: everything)
    return np.full(80_000, 0.1, np.float32)


def _listen(windows, speech, *, sampled="", prompt=""):
    engine = Batched(windows, Sampling(sampled))
    (transcript,) = engine.transcribe([speech], Listening(prompt=prompt))
    return transcript


def test_a_runaway_in_a_short_window_is_decoded_again_in_the_full_one(speech):
    """One retry repairs it, and the transcript says that there was one."""
    windows = Windows(lambda is_full, _: is_full)
    transcript = _listen(windows, speech)
    assert (transcript.text, transcript.retries, transcript.flags) == (RIGHT.text, 1, ())
    assert windows.asked == [(False, False), (True, False)]


def test_a_prompt_that_confuses_is_left_out(speech):
    """Only where the full window did not help."""
    windows = Windows(lambda _, has_prompt: not has_prompt)
    transcript = _listen(windows, speech, prompt="Names: Sweynheim.")
    assert (transcript.text, transcript.retries) == (RIGHT.text, 2)
    assert windows.asked == [(False, True), (True, True), (True, False)]


def test_sampling_is_the_last_resort(speech):
    """Rising temperature, as the original does."""
    transcript = _listen(Windows(lambda *_: False), speech, sampled="And the Word was with God.")
    assert (transcript.text, transcript.retries) == ("And the Word was with God.", 2)


@pytest.mark.parametrize("sampled", [RUNAWAY.text, ""])
def test_what_stays_wrong_is_kept_and_flagged(speech, sampled):
    """Nothing is dropped unseen, also where the last resort hears nothing at all."""
    transcript = _listen(Windows(lambda *_: False), speech, sampled=sampled)
    assert transcript.text.startswith("and so on")
    assert {Flag.REPETITION, Flag.TOO_FAST} <= set(transcript.flags)
    assert Flag.REPETITION in transcript.segments[0].flags
