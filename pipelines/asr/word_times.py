"""Times of a transcript's words by forced alignment with a CTC model: any that `transformers` loads.

A segment's words are looked for within its own times and a second around them, because an aligner that
may look anywhere mostly finds the wrong place. What the model cannot have said (digits, foreign letters)
gets the time between its neighbours, and a segment that fits badly keeps the times it had. Memory follows
the segment. Knows one language's model, no files of transcripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModelForCTC

from pipelines.asr.alignment import Scores, Spot, align
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.asr.whisper.segments import text_of
from pipelines.asr.whisper.transcript import Segment, Transcript, Word
from pipelines.audio.decode import Samples
from pipelines.compute import choose_device
from pipelines.errors import ModelNotFound
from pipelines.progress import Progress, ignore_progress

SAMPLE_RATE_HZ = 16_000
MARGIN_S = 1.0
WORST_FIT = -4.0
"""Mean log-probability per symbol below which a segment's words are not there."""
SHORTEST_S = 0.1


class Sound(Protocol):
    """Samples at 16 kHz of which stretches can be taken: an array, or a file."""

    def __len__(self) -> int:
        """How many samples there are."""

    def __getitem__(self, part: slice, /) -> Samples:
        """A stretch of them."""


@dataclass(frozen=True, slots=True)
class AlignedTranscript:
    """A transcript with aligned words; `kept` counts segments whose own times were better."""

    transcript: Transcript
    aligned: int
    kept: int


class WordAligner:
    """A CTC model of one language: loaded once, used for any number of recordings."""

    def __init__(self, model: str | Path, *, device: str = "cpu") -> None:
        """Load a model with its vocabulary.

        Args:
            model: a hub id or local directory of a CTC model in safetensors, with `vocab.json`.
            device: "cpu" or "cuda".

        Raises:
            ModelNotFound: it is not here, or is no CTC model.
            DeviceUnavailable: no such device.
        """
        self._device = choose_device(device)
        try:
            self._extract = AutoFeatureExtractor.from_pretrained(model)
            network = AutoModelForCTC.from_pretrained(
                model, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise ModelNotFound(f"no CTC model to align with in {model}: {error}") from error
        self._network = network.to(self._device).eval()
        self._vocabulary = Vocabulary.load(Path(model)).padded_to(network.config.vocab_size)

    def align(
        self, samples: Sound, transcript: Transcript, progress: Progress = ignore_progress
    ) -> AlignedTranscript:
        """Give every segment's words new times.

        Args:
            samples: the whole recording at 16 kHz, mono; only what a segment needs is read.
            transcript: what is said in it.
            progress: told after every segment.
        """
        segments: list[Segment] = []
        aligned = 0
        for index, segment in enumerate(transcript.segments):
            words = self._words(samples, transcript.segments, index)
            aligned += words is not None
            segments.append(segment if words is None else replace(segment, words=words))
            progress("aligning", fraction=(index + 1) / len(transcript.segments))
        done = replace(transcript, segments=tuple(segments))
        return AlignedTranscript(done, aligned, len(segments) - aligned)

    def _words(
        self, samples: Sound, segments: Sequence[Segment], index: int
    ) -> tuple[Word, ...] | None:
        segment = segments[index]
        # A neighbour's words belong to the neighbour, except for half of an overlap.
        earliest = segments[index - 1].end_s if index else 0.0
        latest = segments[index + 1].start_s if index + 1 < len(segments) else np.inf
        start_s = min(segment.start_s, max(segment.start_s - MARGIN_S, earliest))
        end_s = max(segment.end_s, min(segment.end_s + MARGIN_S, latest))
        sound = samples[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)]
        texts = _texts(segment)
        spelt = [self._vocabulary.encode(text.strip()) for text in texts]
        ids = _joined(spelt, texts, self._vocabulary.space_id)
        if len(sound) < SHORTEST_S * SAMPLE_RATE_HZ or not ids:
            return None
        log_p = self._emissions(sound)
        try:
            spots = align(log_p, [symbol for symbol, _ in ids], self._vocabulary.blank_id)
        except ValueError:
            return None
        if np.mean([spot.log_p for spot in spots]) < WORST_FIT:
            return None
        frame_s = len(sound) / SAMPLE_RATE_HZ / len(log_p)
        return _timed(texts, [owner for _, owner in ids], spots, start_s, frame_s)

    @torch.inference_mode()
    def _emissions(self, sound: Samples) -> Scores:
        inputs = self._extract(sound, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
        on_device: dict[str, Any] = {name: value.to(self._device) for name, value in inputs.items()}
        logits = self._network(**on_device).logits[0]
        scores: Scores = torch.log_softmax(logits.float(), dim=-1).cpu().numpy()
        return scores


def _texts(segment: Segment) -> list[str]:
    """The segment's words with the space before each: as the engine cut them, else at spaces."""
    if segment.words and text_of(segment.words) == segment.text:
        return [word.text for word in segment.words]
    return [f" {text}" for text in segment.text.split()]


def _joined(
    spelt: Sequence[Sequence[int]], texts: Sequence[str], space_id: int | None
) -> list[tuple[int, int]]:
    """Symbols with the number of their word (−1 for spaces between words that have symbols)."""
    joined: list[tuple[int, int]] = []
    for word, ids in enumerate(spelt):
        if ids and joined and space_id is not None and texts[word].startswith(" "):
            joined.append((space_id, -1))
        joined += [(symbol, word) for symbol in ids]
    return joined


def _timed(
    texts: Sequence[str],
    owners: Sequence[int],
    spots: Sequence[Spot],
    start_s: float,
    frame_s: float,
) -> tuple[Word, ...]:
    """Words with the times of their symbols; one without symbols stands between its neighbours."""
    places: list[tuple[float, float, float] | None] = []
    for word in range(len(texts)):
        own = [spot for spot, owner in zip(spots, owners, strict=True) if owner == word]
        if own:
            probability = float(np.exp(np.mean([spot.log_p for spot in own])))
            begin, end = own[0].begin * frame_s, own[-1].end * frame_s
            places.append((start_s + begin, start_s + end, probability))
        else:
            places.append(None)
    known = [index for index, place in enumerate(places) if place]
    words = []
    for index, text in enumerate(texts):
        place = places[index]
        if place is None:
            before = [places[other] for other in known if other < index]
            after = [places[other] for other in known if other > index]
            left = before[-1][1] if before and before[-1] else start_s
            right = after[0][0] if after and after[0] else left
            place = (left, max(left, right), 0.0)
        words.append(Word(place[0], place[1], text, place[2]))
    return tuple(words)
