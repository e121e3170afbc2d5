"""From emissions to words: decoding, times and confidence, as one checkpoint says it is done.

    emissions ─► beam search with the project's language model (or the best symbol of every frame)
              ─► alignment: when each symbol was said, and how surely ─► words with calibrated confidence

What the held-out verses decided (`tuning`) is in `decoding.json`; a checkpoint without it reads greedily
and reports plain probabilities. Knows no sound. Axis letters: u output frames, c symbols.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.asr.alignment import Spot, align
from pipelines.asr.w2v2bert.beam import Found, Weights, search
from pipelines.asr.w2v2bert.confidence import Calibration, Evidence, logit
from pipelines.asr.w2v2bert.language_model import CharacterModel, Scores
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


NOTHING = Reading("", (), 0.0, Evidence(logit(0.0)), ())


class Reader:
    """Reads emissions of one recogniser."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        output_s: float,
        decoding: Decoding | None = None,
        model: CharacterModel | None = None,
    ) -> None:
        """Take what a checkpoint holds; `output_s` is the duration of an output frame."""
        self.vocabulary = vocabulary
        self._output_s = output_s
        self.decoding = decoding or Decoding()
        self._model = model

    @classmethod
    def load(cls, directory: Path, vocabulary: Vocabulary, output_s: float) -> Reader:
        """Read a checkpoint's decoding, if it has one.

        Raises:
            BadCheckpoint: it is damaged, or its language model is of another vocabulary.
        """
        decoding = _load(directory / FILE_NAME)
        if decoding is None or not decoding.weights.alpha:
            return cls(vocabulary, output_s, decoding)
        model = CharacterModel.load(directory)
        if (model.symbols, model.boundary) != (len(vocabulary), vocabulary.blank_id):
            raise BadCheckpoint("The model's language model belongs to another vocabulary.")
        return cls(vocabulary, output_s, decoding, model)

    def with_model(self, model: CharacterModel, weights: Weights) -> Reader:
        """The same with a language model."""
        decoding = replace(self.decoding, weights=weights)
        return Reader(self.vocabulary, self._output_s, decoding, model)

    def with_decoding(self, decoding: Decoding) -> Reader:
        """The same with other settings."""
        return Reader(self.vocabulary, self._output_s, decoding, self._model)

    def save(self, directory: Path) -> None:
        """Write what `load` reads."""
        text = json.dumps(asdict(self.decoding), indent=1)
        (directory / FILE_NAME).write_text(text, "utf-8")
        if self._model is not None:
            self._model.save(directory)

    def read(self, emissions: Sequence[Scores]) -> list[Reading]:
        """Read recordings, each a (u, c) array of log-probabilities."""
        return [
            self._reading(found, align(log_p, found.ids, self.vocabulary.blank_id))
            for found, log_p in zip(self._found(emissions), emissions, strict=True)
        ]

    def _found(self, emissions: Sequence[Scores]) -> list[Found]:
        if self._model is not None and self.decoding.weights.alpha:
            return search(emissions, self._model, self.decoding.weights)
        blank_id = self.vocabulary.blank_id
        return [Found(best_symbols(log_p, blank_id), 0.0) for log_p in emissions]

    def _reading(self, found: Found, spots: Sequence[Spot]) -> Reading:
        ids = found.ids
        text = self.vocabulary.decode(ids)
        if not text:
            return NOTHING
        language = self._model.scores(ids) if self._model else [0.0] * (len(ids) + 1)
        words, word_evidence = [], []
        for begin, end in self._word_spans(ids):
            word = self.vocabulary.decode(ids[begin:end])
            if not word:
                continue
            # What follows a word, a space or the end, says whether it is a whole one.
            evidence = _evidence(spots[begin:end], language[begin : end + 1], found.log_share)
            word_evidence.append(evidence)
            words.append(
                Word(
                    word,
                    round(spots[begin].begin * self._output_s, 3),
                    round(spots[end - 1].end * self._output_s, 3),
                    round(self.decoding.words.of(evidence), 4),
                )
            )
        evidence = _evidence(spots, language, found.log_share)
        confidence = round(self.decoding.verses.of(evidence), 4)
        return Reading(text, tuple(words), confidence, evidence, tuple(word_evidence))

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


def _evidence(spots: Sequence[Spot], language: Sequence[float], log_share: float) -> Evidence:
    """Means over symbols where they were surest; blanks would drown them."""
    probability = math.exp(sum(spot.log_p for spot in spots) / max(len(spots), 1))
    return Evidence(logit(probability), sum(language) / max(len(language), 1), log_share)


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
    sound, language, share = map(float, document["weights"])
    return Calibration(Evidence(sound, language, share), float(document["shift"]))
