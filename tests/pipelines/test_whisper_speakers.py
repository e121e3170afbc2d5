"""Speakers in a transcript: words go to who speaks, segments end where another begins."""

from __future__ import annotations

from pipelines.asr.diarize.turns import Turn
from pipelines.asr.whisper.speakers import with_speakers
from pipelines.asr.whisper.transcript import Segment, Transcript, Word

TURNS = (Turn(0.0, 2.0, "SPEAKER_00"), Turn(2.0, 4.0, "SPEAKER_01"))


def transcript(*segments: Segment) -> Transcript:
    """Of these."""
    return Transcript(" ".join(one.text for one in segments), segments, "en", 1.0, 4.0, 0.9)


def timed(*words: tuple[float, float, str]) -> Segment:
    """A segment of words."""
    text = "".join(text for _, _, text in words).strip()
    listed = tuple(Word(start, end, said, 0.9) for start, end, said in words)
    return Segment(words[0][0], words[-1][1], text, 0.9, listed)


def test_a_segment_in_which_the_speaker_changes_is_cut_between_the_words() -> None:
    """Nothing of the text is lost, and each part has its own times."""
    segment = timed((0.1, 0.9, " Are you"), (1.0, 1.9, " there?"), (2.1, 2.5, " Yes."))

    first, second = with_speakers(transcript(segment), TURNS).segments

    assert (first.speaker, first.text, first.start_s, first.end_s) == (
        "SPEAKER_00", "Are you there?", 0.1, 1.9,
    )  # fmt: skip
    assert (second.speaker, second.text, second.start_s, second.end_s) == (
        "SPEAKER_01", "Yes.", 2.1, 2.5,
    )  # fmt: skip


def test_a_segment_without_times_of_words_goes_whole_to_who_speaks_most() -> None:
    """There is no place to cut it; the next segment's words are still its own."""
    plain = Segment(1.5, 3.0, "Yes, I am.", 0.9)

    named = with_speakers(transcript(plain, timed((3.1, 3.5, " So."))), TURNS).segments

    assert [(one.text, one.speaker) for one in named] == [
        ("Yes, I am.", "SPEAKER_01"), ("So.", "SPEAKER_01"),
    ]  # fmt: skip


def test_where_nobody_was_heard_nobody_is_named() -> None:
    """The text stays as it is."""
    heard = transcript(timed((0.1, 0.9, " Hello.")))

    assert with_speakers(heard, ()) == heard
