"""What the held-out verses decide after a training: language model or not, and what confidence means.

    held-out verses ─► emissions, once ─► greedy or beam, and which weights ─► `trust` ─► `Decoding`

The language model never sees the text of a held-out verse, or it would be tuned on what it knows by
heart. What is reported of a verse was read with weights that were chosen without it. Without held-out
verses nothing is decided: greedy reading, plain probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from rapidfuzz.distance import Levenshtein

from pipelines.asr.w2v2bert.beam import Weights
from pipelines.asr.w2v2bert.confidence import rank_correlation
from pipelines.asr.w2v2bert.language import Language
from pipelines.asr.w2v2bert.language_model import Scores
from pipelines.asr.w2v2bert.reader import Reader, Reading
from pipelines.asr.w2v2bert.trust import Judged, calibrate, folds, verse_cer
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.text.metrics import ErrorRates, error_rates

ALPHAS = (0.3, 0.6, 0.9, 1.2)
BETAS = (0.0, 0.5, 1.0, 1.5)
"""Per unit of alpha: a symbol's mean log-probability is about −1.5 in a language."""
MOST_VERSES = 120
"""Held-out verses that are tuned on; more would only take longer."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Emissions (u, c) of verses that were not trained on, and what is said in them."""

    emissions: Sequence[Scores]
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Tuned:
    """A reader with its measurements; rates are of the held-out verses, 0…1, cross-fitted."""

    reader: Reader
    readings: tuple[Reading, ...] = ()
    """Each by weights and a calibration that were fitted without it."""
    words: tuple[Judged, ...] = ()
    greedy_cer: float | None = None
    cer: float | None = None
    wer: float | None = None
    rank_correlation: float | None = None
    """Spearman's, of confidence with CER per verse: −1 is perfect."""


def tune(
    vocabulary: Vocabulary,
    output_s: float,
    held_out: HeldOut,
    texts: Iterable[str],
    poll: Callable[[], None],
) -> Tuned:
    """Choose how to read; `texts` are everything the language model may learn from."""
    plain = Reader(vocabulary, output_s)
    if not held_out.texts:
        return Tuned(plain)
    said = held_out.texts
    readings: Sequence[Reading] = plain.read(held_out.emissions)
    greedy = chosen = _rates(said, readings)
    reader = plain
    language = Language.from_texts(vocabulary, texts, unseen=said)
    if language is not None:
        candidates = _Candidates(plain, language, held_out, poll)
        with_language = candidates.read_unseen()
        rates = _rates(said, with_language)
        if rates.cer < greedy.cer:
            reader, readings, chosen = candidates.best(), with_language, rates
    trust = calibrate(readings, said, reader.decoding)
    cers = [verse_cer(text, one.text) for text, one in zip(said, readings, strict=True)]
    return Tuned(
        reader=reader.with_decoding(trust.decoding),
        readings=trust.readings,
        words=trust.words,
        greedy_cer=greedy.cer,
        cer=chosen.cer,
        wer=chosen.wer,
        rank_correlation=rank_correlation([one.confidence for one in trust.readings], cers),
    )


class _Candidates:
    """Readers with different weights, and their mistakes in the first held-out verses."""

    def __init__(
        self, plain: Reader, language: Language, held_out: HeldOut, poll: Callable[[], None]
    ) -> None:
        self._held_out = held_out
        self._tuned_on = min(len(held_out.texts), MOST_VERSES)
        self._readers: list[Reader] = []
        mistakes = []
        for alpha, beta in product(ALPHAS, BETAS):
            poll()
            reader = plain.with_language(language, Weights(alpha, alpha * beta))
            self._readers.append(reader)
            mistakes.append(self._mistakes(reader.texts(held_out.emissions[: self._tuned_on])))
        self._by_verse = np.array(mistakes)

    def best(self, but: tuple[int, int] = (0, 0)) -> Reader:
        """The one with the fewest mistakes in the verses outside a range."""
        counted = np.delete(self._by_verse, slice(*but), axis=1)
        return self._readers[int(counted.sum(axis=1).argmin())]

    def read_unseen(self) -> list[Reading]:
        """All verses, each by the best reader for the others."""
        emissions = self._held_out.emissions
        readings: list[Reading] = []
        for begin, end in folds(self._tuned_on):
            readings += self.best(but=(begin, end)).read(emissions[begin:end])
        return readings + self.best().read(emissions[self._tuned_on :])

    def _mistakes(self, texts: Sequence[str]) -> list[int]:
        said = self._held_out.texts[: self._tuned_on]
        return [Levenshtein.distance(*pair) for pair in zip(said, texts, strict=True)]


def _rates(said: Sequence[str], readings: Sequence[Reading]) -> ErrorRates:
    return error_rates(said, [reading.text for reading in readings])
