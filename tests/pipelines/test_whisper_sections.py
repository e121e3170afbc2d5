"""Long recordings in pieces: nothing lost between them, and times of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from support.sound import tone
from support.speech import spoken_clip

from pipelines.asr.whisper.engine import Listening, open_engine
from pipelines.asr.whisper.sections import join, sections
from pipelines.asr.whisper.transcript import Flag, nothing_heard
from pipelines.audio.decode import decode

RATE = 16_000


def reader(samples):
    """As from a file."""
    return lambda start, count: samples[start : start + count]


def test_sections_make_up_the_whole_and_are_cut_in_the_quiet():
    """No sample twice, none left out; each cut is in a pause."""
    loud = tone(1.5, RATE)
    samples = np.concatenate([loud, np.zeros(RATE // 2, np.float32)] * 5)
    found = list(sections(reader(samples), len(samples), longest_s=4.5))
    assert np.array_equal(np.concatenate([part for _, part in found]), samples)
    assert all(len(part) <= 4.5 * RATE for _, part in found)
    edges = [round(start_s * RATE) for start_s, _ in found[1:]]
    assert len(edges) >= 2
    assert all(not samples[edge - 800 : edge + 800].any() for edge in edges)


def test_a_recording_heard_in_sections_is_heard_as_a_whole():
    """The same words; the second half's times are those of the file."""
    engine = open_engine("faster-whisper", "tiny", threads=1)
    clip = decode(spoken_clip("LJ001-0002").path).samples
    whole = np.concatenate([clip, np.zeros(2 * RATE, np.float32), clip])
    parts = [
        (start_s, engine.transcribe([samples], Listening(beam=1))[0])
        for start_s, samples in sections(reader(whole), len(whole), longest_s=len(clip) / RATE + 2)
    ]
    assert len(parts) == 2
    joined = join(parts)
    (alone,) = engine.transcribe([clip], Listening(beam=1))
    assert joined.text == f"{alone.text} {alone.text}"
    assert joined.duration_s == pytest.approx(len(whole) / RATE, abs=0.01)
    assert joined.language == "en"
    second = joined.segments[len(alone.segments)]
    assert second.start_s == pytest.approx(len(clip) / RATE + 2, abs=0.5)
    assert second.words[0].start_s >= second.start_s


def test_hours_of_silence_are_silence():
    """With the flag that says so."""
    joined = join([(0.0, nothing_heard(1800.0, "en")), (1800.0, nothing_heard(60.0, "en"))])
    assert (joined.text, joined.duration_s, joined.flags) == ("", 1860.0, (Flag.NO_SPEECH,))
