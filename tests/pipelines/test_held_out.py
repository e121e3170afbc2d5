"""Numbers of the verses that a training kept back."""

from __future__ import annotations

import pytest

from pipelines.asr.w2v2bert.held_out import (
    HeldOutVerse,
    by_book,
    confusions,
    reliability,
    word_reliability,
)


def _verse(number, said="abcdefghij", heard=None, book="MAT", confidence=0.9):
    return HeldOutVerse(
        f"{book} 1:{number}", book, said, said if heard is None else heard, confidence
    )


def test_each_book_has_its_rates_and_all_have_theirs():
    """The largest first; characters are counted, not verses."""
    verses = [_verse(1), _verse(2, heard="abcdefghix"), _verse(3, book="JHN", heard="abcde")]
    found = [(book, count, rates.cer) for book, count, rates in by_book(verses)]
    assert found == [
        ("MAT", 2, pytest.approx(0.05)),
        ("JHN", 1, pytest.approx(0.5)),
        ("all", 3, pytest.approx(0.2)),
    ]


def test_one_book_needs_no_sum():
    """It would say the same twice."""
    assert [book for book, _, _ in by_book([_verse(1)])] == ["MAT"]


def test_confusions_are_counted_with_what_was_lost_and_added():
    """Frequent ones first."""
    verses = [
        _verse(1, said="baba", heard="papa"),
        _verse(2, said="gate", heard="gat"),
        _verse(3, said="at", heard="a t"),
    ]
    assert confusions(verses) == [(("b", "p"), 2), (("", " "), 1), (("e", ""), 1)]


def test_promised_and_kept_are_compared_in_groups():
    """Verses that are equally sure are judged together; a few left over are not."""
    sure = [_verse(number) for number in range(10)]
    unsure = [_verse(number, heard="abcdexxxxx", confidence=0.5) for number in range(10)]
    points = list(reliability([*sure, *unsure]))
    assert points[0] == (pytest.approx(0.5), pytest.approx(0.5))
    assert points[-1] == (pytest.approx(0.9), pytest.approx(1.0))
    assert list(reliability(sure[:3])) == []


def test_words_are_compared_in_groups_too():
    """Of the unsure ones half is right, of the sure ones all."""
    words = [(0.5, 1.0), (0.5, 0.0), (0.99, 1.0), (0.99, 1.0)] * 10
    points = list(word_reliability(words))
    assert points[0] == (pytest.approx(0.5), pytest.approx(0.5, abs=0.2))
    assert points[-1] == (pytest.approx(0.99), pytest.approx(1.0))
    assert list(word_reliability(words[:4])) == []
