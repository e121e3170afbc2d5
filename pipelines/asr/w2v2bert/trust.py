"""From readings of held-out verses, and what was said in them, to confidence that means what it says.

What is reported of it is cross-fitted: the confidence of a verse comes from a calibration that was fitted without
that verse and its neighbours. What is stored is fitted on all of them. Knows no sound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

import jiwer

from pipelines.asr.w2v2bert.confidence import Calibration, Evidence
from pipelines.asr.w2v2bert.reader import DOUBTFUL, Decoding, Reading
from pipelines.text.metrics import error_rates

FOLDS = 5
MANY_ERRORS = 1.5
"""A verse calls for a look when this many times the project's usual errors are to be expected in it …"""
SURE = 0.98
"""… but never when it is that good."""

Judged = tuple[float, float]
"""How sure the recogniser was of a word, and 1 if it was right, else 0."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What was found out."""

    readings: tuple[Reading, ...]
    """As they were given, with cross-fitted confidence."""
    words: tuple[Judged, ...]
    """The same of every word that was heard."""
    decoding: Decoding
    """As it was given, with calibrations and the mark for doubtful verses."""


def calibrate(readings: Sequence[Reading], texts: Sequence[str], decoding: Decoding) -> Trust:
    """Find out how much the evidence of readings is worth; in verse order, so neighbours share a fold."""
    heard = [_Heard(reading, text) for reading, text in zip(readings, texts, strict=True)]
    crossed: list[Reading] = []
    words: list[Judged] = []
    for begin, end in folds(len(heard)):
        words_fit, verses_fit = _fitted([*heard[:begin], *heard[end:]])
        for verse in heard[begin:end]:
            reading = verse.reading.calibrated(words_fit, verses_fit)
            crossed.append(reading)
            sure = (word.confidence for word in reading.words)
            words.extend(zip(sure, verse.is_right, strict=True))
    words_fit, verses_fit = _fitted(heard)
    fitted = [verse.reading.calibrated(words_fit, verses_fit) for verse in heard]
    return Trust(
        tuple(crossed),
        tuple(words),
        replace(
            decoding,
            words=words_fit,
            verses=verses_fit,
            doubtful_below=_mark([one.confidence for one in fitted if one.text]),
        ),
    )


def folds(count: int) -> Iterator[tuple[int, int]]:
    """Begins and ends of about equal parts."""
    parts = min(FOLDS, count)
    return pairwise([part * count // parts for part in range(parts + 1)]) if count else iter(())


def verse_cer(text: str, heard: str) -> float:
    """Character error rate of one verse."""
    return error_rates([text], [heard]).cer


@dataclass(frozen=True)
class _Heard:
    """A reading beside its truth."""

    reading: Reading
    text: str

    @property
    def is_right(self) -> list[float]:
        """For every word that was heard, 1 where it was said, else 0."""
        words = [word.text for word in self.reading.words]
        if not words:
            return []
        (chunks,) = jiwer.process_words([self.text], [" ".join(words)]).alignments
        right = {
            index
            for chunk in chunks
            if chunk.type == "equal"
            for index in range(chunk.hyp_start_idx, chunk.hyp_end_idx)
        }
        return [float(index in right) for index in range(len(words))]


def _fitted(heard: Sequence[_Heard]) -> tuple[Calibration, Calibration]:
    """For words and for verses."""
    audible = [verse for verse in heard if verse.reading.text]
    word_evidence: list[Evidence] = []
    is_right: list[float] = []
    for verse in audible:
        word_evidence.extend(verse.reading.word_evidence)
        is_right.extend(verse.is_right)
    words = Calibration.fitted(word_evidence, is_right)
    verses = Calibration.fitted(
        [verse.reading.with_words(words).evidence for verse in audible],
        [max(0.0, 1.0 - verse_cer(verse.text, verse.reading.text)) for verse in audible],
        [len(verse.reading.words) for verse in audible],
    )
    return words, verses


def _mark(confidences: Sequence[float]) -> float:
    """Below which verses are doubtful: relative to the usual ones, between two absolute levels.

    Relative to their mean: any quantile of a few dozen verses would be chance.
    """
    usual_errors = 1.0 - fmean(confidences) if confidences else 1.0
    return round(min(max(1.0 - MANY_ERRORS * usual_errors, DOUBTFUL), SURE), 4)
