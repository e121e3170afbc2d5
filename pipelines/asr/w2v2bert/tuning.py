"""What the held-out verses decide after a training: language model or not, and what confidence means.

    held-out verses ─► emissions, once ─► greedy or beam, and which weights ─► calibration ─► `Decoding`

The language model never sees the text of a held-out verse, or it would be tuned on what it knows by
heart. Without held-out verses nothing is decided: greedy reading, plain probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import jiwer
import numpy as np

from pipelines.asr.w2v2bert.beam import Weights
from pipelines.asr.w2v2bert.confidence import Calibration, Evidence, rank_correlation
from pipelines.asr.w2v2bert.language_model import CharacterModel, Scores
from pipelines.asr.w2v2bert.reader import DOUBTFUL, Decoding, Reader, Reading
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.text.metrics import error_rates

ALPHAS = (0.2, 0.4, 0.6, 0.8)
BETAS = (0.0, 0.5, 1.0, 1.5)
"""Per unit of alpha: a symbol's mean log-probability is about −1.5 in a language."""
MOST_VERSES = 120
"""Held-out verses that are tuned on; more would only take longer."""
LOWEST_SHARE = 0.15
"""This share of the least sure held-out verses lies below the mark that calls for a look."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Emissions (u, c) of verses that were not trained on, and what is said in them."""

    emissions: Sequence[Scores]
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Tuned:
    """A reader with its measurements; rates are of the held-out verses, 0…1."""

    reader: Reader
    readings: tuple[Reading, ...] = ()
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
    greedy = _measured(plain, held_out)
    best = _with_language_model(plain, held_out, texts, poll)
    chosen = best if best is not None and best.cer < greedy.cer else greedy
    decoding = _calibrated(chosen, held_out.texts)
    reader = chosen.reader.with_decoding(decoding)
    readings = reader.read(held_out.emissions)
    return Tuned(
        reader=reader,
        readings=tuple(readings),
        greedy_cer=greedy.cer,
        cer=chosen.cer,
        wer=chosen.wer,
        rank_correlation=rank_correlation(
            [reading.confidence for reading in readings],
            [
                verse_cer(text, reading.text)
                for text, reading in zip(held_out.texts, readings, strict=True)
            ],
        ),
    )


def verse_cer(text: str, heard: str) -> float:
    """Character error rate of one verse."""
    return error_rates([text], [heard]).cer


@dataclass(frozen=True, slots=True)
class _Measured:
    reader: Reader
    readings: Sequence[Reading]
    cer: float
    wer: float


def _measured(reader: Reader, held_out: HeldOut) -> _Measured:
    readings = reader.read(held_out.emissions)
    rates = error_rates(held_out.texts, [reading.text for reading in readings])
    return _Measured(reader, readings, rates.cer, rates.wer)


def _with_language_model(
    plain: Reader, held_out: HeldOut, texts: Iterable[str], poll: Callable[[], None]
) -> _Measured | None:
    """The best weights on the first verses, measured on all; None without text to learn from."""
    vocabulary = plain.vocabulary
    unseen = {tuple(vocabulary.encode(text)) for text in held_out.texts}
    sentences = [ids for text in texts if tuple(ids := vocabulary.encode(text)) not in unseen]
    if not any(sentences):
        return None
    model = CharacterModel.from_sentences(
        sentences, symbols=len(vocabulary), boundary=vocabulary.blank_id
    )
    first = HeldOut(held_out.emissions[:MOST_VERSES], held_out.texts[:MOST_VERSES])
    tried = []
    for alpha, beta in product(ALPHAS, BETAS):
        poll()
        weights = Weights(alpha, alpha * beta)
        tried.append(_measured(plain.with_model(model, weights), first))
    best = min(tried, key=lambda candidate: candidate.cer)
    return _measured(best.reader, held_out)


def _calibrated(chosen: _Measured, texts: Sequence[str]) -> Decoding:
    readings = chosen.readings
    word_evidence, is_right = _judged_words(readings, texts)
    heard = [(reading, text) for reading, text in zip(readings, texts, strict=True) if reading.text]
    verses = Calibration.fitted(
        [reading.evidence for reading, _ in heard],
        [max(0.0, 1.0 - verse_cer(text, reading.text)) for reading, text in heard],
        [len(reading.words) for reading, _ in heard],
    )
    confidences = verses([reading.evidence for reading, _ in heard])
    doubtful = float(np.quantile(confidences, LOWEST_SHARE)) if len(heard) else DOUBTFUL
    return replace(
        chosen.reader.decoding,
        words=Calibration.fitted(word_evidence, is_right),
        verses=verses,
        doubtful_below=round(max(doubtful, DOUBTFUL), 4),
    )


def _judged_words(
    readings: Sequence[Reading], texts: Sequence[str]
) -> tuple[list[Evidence], list[float]]:
    """Evidence for every word that was heard, and 1 where it was said, else 0."""
    pairs = [
        (reading, text)
        for reading, text in zip(readings, texts, strict=True)
        if text and reading.text
    ]
    if not pairs:
        return [], []
    compared = jiwer.process_words(
        [text for _, text in pairs],
        [" ".join(word.text for word in reading.words) for reading, _ in pairs],
    )
    evidence: list[Evidence] = []
    is_right: list[float] = []
    for (reading, _), chunks in zip(pairs, compared.alignments, strict=True):
        right = {
            index
            for chunk in chunks
            if chunk.type == "equal"
            for index in range(chunk.hyp_start_idx, chunk.hyp_end_idx)
        }
        evidence.extend(reading.word_evidence)
        is_right.extend(float(index in right) for index in range(len(reading.words)))
    return evidence, is_right
