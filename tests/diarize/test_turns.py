"""Turns as RTTM, words given to speakers, and grouping that does not depend on blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.asr.diarize.clusters import group_blocks
from pipelines.asr.diarize.turns import (
    SpeakerCount,
    Turn,
    assign,
    from_rttm,
    renamed,
    speaker_of,
    to_rttm,
)
from pipelines.errors import PipelineError


@dataclass(frozen=True)
class Word:
    start_s: float
    end_s: float


TURNS = (Turn(0.0, 2.0, "A"), Turn(2.5, 4.0, "B"), Turn(4.0, 6.0, "A"))


@given(
    st.lists(
        st.tuples(st.integers(0, 10**7), st.integers(1, 10**6), st.sampled_from(["A", "B", "ö"])),
        max_size=20,
    )
)
def test_turns_survive_rttm(rows: list[tuple[int, int, str]]) -> None:
    """To the millisecond."""
    turns = [Turn(start / 1000, (start + length) / 1000, who) for start, length, who in rows]

    back = from_rttm(to_rttm(turns, "a talk.wav"))

    assert [turn.speaker for turn in back] == [turn.speaker for turn in turns]
    for ours, theirs in zip(turns, back, strict=True):
        assert ours.start_s == pytest.approx(theirs.start_s, abs=0.0006)
        assert ours.end_s == pytest.approx(theirs.end_s, abs=0.0011)


def test_a_broken_line_of_rttm_is_named_and_other_lines_are_ignored() -> None:
    """Comments and other record types are legal."""
    assert from_rttm(";; comment\nSPKR-INFO x\n\n") == ()
    with pytest.raises(PipelineError, match="line 2"):
        from_rttm(";;\nSPEAKER x 1 zero 1\n")


def test_words_belong_to_whom_they_overlap_most_or_stand_next_to() -> None:
    """A word in a pause goes to the nearer turn."""
    assert speaker_of(Word(1.5, 2.2), TURNS) == "A"
    assert speaker_of(Word(1.9, 3.0), TURNS) == "B"
    assert speaker_of(Word(2.3, 2.45), TURNS) == "B"
    assert speaker_of(Word(9.0, 9.5), TURNS) == "A"
    assert speaker_of(Word(0.0, 1.0), ()) is None


def test_a_word_too_short_to_be_a_turn_stays_with_its_neighbours() -> None:
    """No island of a fifth of a second inside somebody's sentence."""
    turns = (Turn(0, 1.0, "A"), Turn(1.0, 1.2, "B"), Turn(1.2, 3.0, "A"))
    words = [Word(0.5, 0.9), Word(1.0, 1.2), Word(1.3, 1.8)]

    assert assign(words, turns) == ["A", "A", "A"]
    assert assign(words, turns, island_s=0.1) == ["A", "B", "A"]


def test_speakers_are_named_by_first_appearance() -> None:
    """The order of time, whatever the grouping called them."""
    named = renamed([Turn(5, 6, "7"), Turn(0, 1, "9"), Turn(2, 3, "7")])

    assert [turn.speaker for turn in named] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_01"]


@pytest.mark.parametrize("blocks", [1, 3, 10])
def test_groups_do_not_depend_on_where_blocks_end(blocks: int) -> None:
    """Three voices with scatter; the same voices in every block."""
    generator = np.random.default_rng(5)
    voices = np.eye(3, 64) * 4
    true = generator.integers(0, 3, 300)
    vectors = np.abs(voices[true] + generator.normal(0, 0.25, (300, 64)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    labels = group_blocks(np.array_split(vectors, blocks), SpeakerCount())

    pairs = {(int(ours), int(theirs)) for ours, theirs in zip(labels, true, strict=True)}
    assert len(pairs) == 3


def test_numbers_of_speakers_that_cannot_be_are_refused() -> None:
    """A mistake of the settings, said at once."""
    for wrong in ({"exactly": 0}, {"least": 0}, {"least": 3, "most": 2}):
        with pytest.raises(ValueError, match="speaker"):
            SpeakerCount(**wrong)
