"""CTC outputs to symbols and confidence."""

from __future__ import annotations

import math

import pytest
import torch

from pipelines.asr.w2v2bert.decoding import Hypothesis, decode_greedily, join
from pipelines.asr.w2v2bert.transcribe import has_repetition

BLANK = 0


def _logits(*rows, certainty=8.0):
    """Outputs that clearly say these symbols, frame by frame."""
    longest = max(map(len, rows))
    padded = [[*row, *([BLANK] * (longest - len(row)))] for row in rows]
    return certainty * torch.nn.functional.one_hot(torch.tensor(padded), 5).float()


def _ids(*rows, lengths=None):
    found = decode_greedily(_logits(*rows), lengths or [len(row) for row in rows], BLANK)
    return [hypothesis.ids for hypothesis in found]


def test_repeats_are_merged_and_blanks_dropped():
    """The rule of CTC."""
    assert _ids([1, 1, 0, 0, 2, 2, 2, 0]) == [(1, 2)]


def test_a_doubled_letter_needs_a_blank_between():
    """Otherwise it is one letter held long."""
    assert _ids([3, 0, 3, 3]) == [(3, 3)]


def test_nothing_beyond_a_recordings_end_counts():
    """Padding says nothing."""
    assert _ids([1, 2], [1, 0, 3, 4], lengths=[1, 3]) == [(1,), (1, 3)]


def test_blanks_do_not_drown_the_confidence():
    """Fifty sure blanks and one guess make a guess."""
    logits = _logits([0] * 50 + [1])
    logits[0, -1] = torch.tensor([0.0, 1.0, 1.0, 1.0, 0.99])
    (hypothesis,) = decode_greedily(logits, [51], BLANK)
    assert len(hypothesis.ids) == 1
    assert hypothesis.confidence < 0.3


def test_silence_has_no_confidence():
    """Nothing was said with any certainty."""
    (hypothesis,) = decode_greedily(_logits([0, 0, 0]), [3], BLANK)
    assert (hypothesis.ids, hypothesis.confidence) == ((), 0.0)


def test_pieces_weigh_by_what_they_say():
    """A geometric mean over all symbols."""
    whole = join([Hypothesis((1,), (math.log(0.5),)), Hypothesis((2, 3), (0.0, 0.0))])
    assert whole.ids == (1, 2, 3)
    assert whole.confidence == pytest.approx(0.5 ** (1 / 3))


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("holy holy holy is the lord", False),
        ("and and and and he went", True),
        ("he said to them he said to them he said to them he said to them", True),
        ("one two three four five six seven eight nine ten", False),
        ("เขาเขาเขาเขา", True),
        ("tiehtiehtiehtieh", True),
        ("mmmmmmmmmm", True),
        ("10000 and 2000", False),
        ("and and and and", True),
        ("", False),
    ],
)
def test_a_stuck_recogniser_is_noticed(text, repeats):
    """Four times the same is a fault, three times may be scripture."""
    assert has_repetition(text) is repeats
