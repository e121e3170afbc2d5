"""From emissions to words: decoding, times and confidence, as one checkpoint says it is done.

    emissions ─► beam search with the project's language model (or the best symbol of every frame)
              ─► alignment: when each symbol was said, and how surely ─► words with calibrated confidence

What the held-out verses decided (`tuning`) is in `decoding.json`; a checkpoint without it reads greedily
and reports plain probabilities. Knows no sound. Axis letters: u output frames, c symbols.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.asr.alignment import align
from pipelines.asr.w2v2bert.beam import Hypothesis, Weights, search
from pipelines.asr.w2v2bert.confidence import Calibration, Evidence, from_words, logit
from pipelines.asr.w2v2bert.evidence import clues
from pipelines.asr.w2v2bert.language import Language
from pipelines.asr.w2v2bert.language_model import Scores
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.errors import BadCheckpoint

FILE_NAME = "decoding.json"
DOUBTFUL = 0.5
"""Below this a person should look, whatever the model."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How to read, as the held-out verses decided it."""

    weights: Weights = field(default_factory=Weights)
    words: Calibration = field(default_factory=Calibration)
    """From the evidence for a word to the chance that it is right."""
    verses: Calibration = field(default_factory=Calibration)
    """From the evidence for a verse to the share of its letters that is right."""
    doubtful_below: float = DOUBTFUL


@dataclass(frozen=True, slots=True)
class Word:
    """One word, when it was said, and how likely it is right (0…1)."""

    text: str
    begin_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What was heard, and the evidence for it as a whole and word by word."""

    text: str
    words: tuple[Word, ...]
    confidence: float
    evidence: Evidence
    word_evidence: tuple[Evidence, ...]

    def with_words(self, calibration: Calibration) -> Reading:
        """The same with calibrated words, which are evidence for the whole."""
        if not self.words:
            return self
        sure = calibration(self.word_evidence)
        words = tuple(
            replace(word, confidence=round(float(p), 4))
            for word, p in zip(self.words, sure, strict=True)
        )
        evidence = self.evidence._replace(words=from_words(sure, len(self.text)))
        return replace(self, words=words, evidence=evidence)

    def calibrated(self, words: Calibration, verses: Calibration) -> Reading:
        """The same with confidence that means what it says."""
        if not self.text:
            return self
        reading = self.with_words(words)
        return replace(reading, confidence=round(verses.of(reading.evidence), 4))


NOTHING = Reading("", (), 0.0, Evidence(logit(0.0)), ())


class Reader:
    """Reads emissions of one recogniser."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        output_s: float,
        decoding: Decoding | None = None,
        language: Language | None = None,
    ) -> None:
        """Take what a checkpoint holds; `output_s` is the duration of an output frame."""
        self.vocabulary = vocabulary
        self._output_s = output_s
        self.decoding = decoding or Decoding()
        self._language = language

    @classmethod
    def load(cls, directory: Path, vocabulary: Vocabulary, output_s: float) -> Reader:
        """Read a checkpoint's decoding, if it has one.

        Raises:
            BadCheckpoint: it is damaged, or its language model is of another vocabulary.
        """
        decoding = _load(directory / FILE_NAME)
        if decoding is None or not decoding.weights.alpha:
            return cls(vocabulary, output_s, decoding)
        return cls(vocabulary, output_s, decoding, Language.load(directory, vocabulary))

    def with_language(self, language: Language, weights: Weights) -> Reader:
        """The same with a language model."""
        decoding = replace(self.decoding, weights=weights)
        return Reader(self.vocabulary, self._output_s, decoding, language)

    def with_decoding(self, decoding: Decoding) -> Reader:
        """The same with other settings."""
        return Reader(self.vocabulary, self._output_s, decoding, self._language)

    def save(self, directory: Path) -> None:
        """Write what `load` reads."""
        document = asdict(self.decoding)
        for name in ("words", "verses"):
            document[name]["weights"] = getattr(self.decoding, name).weights._asdict()
        text = json.dumps(document, indent=1)
        (directory / FILE_NAME).write_text(text, "utf-8")
        if self._language is not None:
            self._language.save(directory)

    def read(self, emissions: Sequence[Scores]) -> list[Reading]:
        """Read recordings, each a (u, c) array of log-probabilities."""
        return [
            self._reading(log_p, hypotheses)
            for log_p, hypotheses in zip(emissions, self._found(emissions), strict=True)
        ]

    def texts(self, emissions: Sequence[Scores]) -> list[str]:
        """What `read` gives as text, in less time."""
        return [self.vocabulary.decode(found[0].ids) for found in self._found(emissions)]

    def _found(self, emissions: Sequence[Scores]) -> Sequence[Sequence[Hypothesis]]:
        if self._language is not None and self.decoding.weights.alpha:
            return search(emissions, self._language.model, self.decoding.weights)
        blank_id = self.vocabulary.blank_id
        return [[Hypothesis(best_symbols(log_p, blank_id), 0.0)] for log_p in emissions]

    def _reading(self, log_p: Scores, hypotheses: Sequence[Hypothesis]) -> Reading:
        ids = hypotheses[0].ids
        text = self.vocabulary.decode(ids)
        if not text:
            return NOTHING
        spots = align(log_p, ids, self.vocabulary.blank_id)
        scores = self._language.model.scores(ids) if self._language else [0.0] * (len(ids) + 1)
        found = clues(log_p, hypotheses, spots, scores)
        words: list[Word] = []
        word_evidence: list[Evidence] = []
        for begin, end in self._word_spans(ids):
            word = self.vocabulary.decode(ids[begin:end])
            if not word:
                continue
            word_evidence.append(found.of(begin, end, self._known_share([word])))
            begin_s = round(spots[begin].begin * self._output_s, 3)
            end_s = round(spots[end - 1].end * self._output_s, 3)
            words.append(Word(word, begin_s, end_s, 0.0))
        evidence = found.of(0, len(ids), self._known_share([word.text for word in words]))
        reading = Reading(text, tuple(words), 0.0, evidence, tuple(word_evidence))
        return reading.calibrated(self.decoding.words, self.decoding.verses)

    def _known_share(self, words: Sequence[str]) -> float:
        return self._language.known_share(words) if self._language else 0.0

    def _word_spans(self, ids: Sequence[int]) -> Iterator[tuple[int, int]]:
        begin = 0
        for index, symbol in enumerate(ids):
            if symbol == self.vocabulary.space_id:
                yield begin, index
                begin = index + 1
        yield begin, len(ids)


def best_symbols(log_p: Scores, blank_id: int) -> tuple[int, ...]:
    """The best symbol of every frame, repeats merged, blanks dropped; log_p: (u, c)."""
    ids = log_p.argmax(axis=1)
    is_new = np.concatenate([[True], ids[1:] != ids[:-1]])[: len(ids)]
    return tuple(int(symbol) for symbol in ids[is_new & (ids != blank_id)])


def _load(path: Path) -> Decoding | None:
    if not path.exists():
        return None
    try:
        document: Any = json.loads(path.read_text("utf-8"))
        weights = document["weights"]
        decoding = Decoding(
            weights=Weights(float(weights["alpha"]), float(weights["beta"]), int(weights["width"])),
            words=_calibration(document["words"]),
            verses=_calibration(document["verses"]),
            doubtful_below=float(document["doubtful_below"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadCheckpoint("The model's decoding settings are damaged.") from error
    if not 1 <= decoding.weights.width <= 1000:
        raise BadCheckpoint("The model's decoding settings are implausible.")
    return decoding


def _calibration(document: Any) -> Calibration:
    weights = document["weights"]
    # Models of earlier workers have a list: sound, language, and what is no longer asked for.
    by_name = (
        weights
        if isinstance(weights, Mapping)
        else dict(zip(("sound", "language"), weights, strict=False))
    )
    evidence = Evidence(**{name: float(weight) for name, weight in by_name.items()})
    return Calibration(evidence, float(document["shift"]))
