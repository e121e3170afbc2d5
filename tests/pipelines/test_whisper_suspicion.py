"""What makes a text look invented."""

from __future__ import annotations

import pytest

from pipelines.asr.whisper.segments import segments_of, text_of
from pipelines.asr.whisper.suspicion import flags_of, is_loop, looks_wrong
from pipelines.asr.whisper.transcript import Flag, Word

PROSE = (
    "In being comparatively modern, it differs from most if not all the arts and crafts represented in "
    "the exhibition, and we desire to show here what it owes to those who came before."
)


@pytest.mark.parametrize(
    "text",
    [
        "and so on and so on and so on",
        "no no no no no no",
        "the word of the lord came to me, the word of the lord came to me, the word of the lord came to me",
    ],
)
def test_going_round_in_circles_is_a_loop(text):
    """The same words three times in a row; one word, five times."""
    assert is_loop(text)
    assert Flag.REPETITION in flags_of(text, 60.0)


@pytest.mark.parametrize(
    "text", ["Holy, holy, holy is the LORD of hosts.", "Verily, verily, I say unto you", PROSE, ""]
)
def test_scripture_that_repeats_is_no_loop(text):
    """People do say things three times."""
    assert not is_loop(text)
    assert flags_of(text, 60.0) == ()


def test_more_text_than_anybody_can_say_is_wrong():
    """Characters against seconds."""
    assert looks_wrong(PROSE, 3.0, is_window_short=True)
    assert not looks_wrong(PROSE, 12.0, is_window_short=True)
    assert flags_of(PROSE, 3.0) == (Flag.TOO_FAST,)


def test_a_recited_prompt_and_a_stock_phrase_over_silence_are_flagged():
    """And neither is when somebody may have said it."""
    assert flags_of("Sweynheim, Pannartz.", 5.0, prompt="Names: Sweynheim, Pannartz, Maintz.") == (
        Flag.PROMPT_ECHO,
    )
    assert flags_of("Thank you for watching!", 5.0, no_speech=0.9) == (Flag.STOCK_PHRASE,)
    assert flags_of("Thank you for watching!", 5.0, no_speech=0.1) == ()


def _words(*entries):
    return [Word(start, end, text, 0.9) for start, end, text in entries]


def test_segments_end_with_sentences_and_at_pauses():
    """And the words keep the text as it was."""
    words = _words(
        (0.0, 0.4, " He"),
        (0.4, 0.9, " came."),
        (1.0, 1.5, " They"),
        (3.0, 3.5, " saw"),
        (3.5, 4, ".”"),
    )
    assert [segment.text for segment in segments_of(words)] == ["He came.", "They", "saw.”"]
    assert text_of(words) == "He came. They saw.”"


def test_a_segment_longer_than_seven_seconds_is_cut_at_its_longest_pause():
    """In a script without spaces as well."""
    words = _words(*((second, second + 0.9, "字") for second in range(6)), (6.5, 9.0, "字"))
    assert [(s.start_s, s.end_s) for s in segments_of(words)] == [(0, 5.9), (6.5, 9.0)]
