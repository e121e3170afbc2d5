"""Text for recordings, with a trained recogniser: batches of like length, greedy CTC decoding.

Reads a window of recordings at a time, so memory does not grow with their number. A long recording
is cut at pauses and its pieces are read like recordings of their own. Knows no cells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from pipelines.asr.w2v2bert import model
from pipelines.asr.w2v2bert.config import FRAME_S, SAMPLE_RATE_HZ
from pipelines.asr.w2v2bert.dataset import Unusable, speech_of
from pipelines.asr.w2v2bert.decoding import Hypothesis, decode_greedily, join
from pipelines.asr.w2v2bert.model import Recogniser
from pipelines.asr.w2v2bert.processor import MIN_SAMPLES, FeatureExtractor, Features, pad
from pipelines.audio.silence import split_at_pauses
from pipelines.compute import choose_device, choose_dtype
from pipelines.progress import Progress
from pipelines.training.batching import plan_batches

WINDOW = 64
"""Recordings whose features are in memory together …"""
WINDOW_S = 1200.0
"""… unless they are longer than this (32 kB a second)."""
BATCH_S = 120.0
"""Seconds of padded audio in one batch."""
LONGEST_PIECE_S = 15.0
"""Attention costs the square of the length, so longer recordings are cut."""
LONGEST_RECORDING_S = 3600.0

FASTEST_SPEECH = 30.0
"""Characters a second that nobody speaks."""
LOW_CONFIDENCE = 0.5
_STUCK = re.compile(r"(.{2,60}?)\1{3}|(.)\2{7}")
"""Four equal groups of characters in a row, or eight equal characters (not four: 10000)."""


class Flag(StrEnum):
    """Why a person should look at a transcription; it is never hidden for it."""

    NO_TEXT = "no_text"
    TOO_FAST = "too_fast"
    REPETITION = "repetition"
    LOW_CONFIDENCE = "low_confidence"


@dataclass(frozen=True, slots=True)
class Recording:
    """One file to transcribe."""

    id: str
    audio: Path


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was heard; `problem` says why there is no text when the recording is unusable."""

    id: str
    text: str
    confidence: float
    duration_s: float
    flags: tuple[Flag, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """A decoded recording, cut into pieces."""

    recording: Recording
    pieces: tuple[Features, ...]
    duration_s: float
    problem: str | None = None


class Transcriber:
    """A loaded recogniser: set up once, used for any number of recordings."""

    def __init__(self, model_directory: Path, *, device: str, precision: str = "auto") -> None:
        """Load the weights onto the device.

        Raises:
            BadCheckpoint, DeviceUnavailable: in words for the user.
        """
        self._device = choose_device(device)
        self._recogniser: Recogniser = model.load(model_directory)
        self._dtype = choose_dtype(precision, self._device, width=self._recogniser.hidden_size)
        self._recogniser.network.to(self._device, self._dtype).eval()
        self._extract = FeatureExtractor()

    def transcribe(
        self, recordings: Sequence[Recording], progress: Progress
    ) -> Iterator[Transcription]:
        """Yield one result per recording, in their order."""
        window: list[_Read] = []
        for number, recording in enumerate(recordings, start=1):
            message = f"Transcribing recording {number} of {len(recordings)}"
            progress(message, fraction=(number - 1) / len(recordings))
            window.append(self._read(recording))
            if len(window) == WINDOW or sum(read.duration_s for read in window) > WINDOW_S:
                yield from self._heard(window, partial(progress, message))
                window = []
        if window:
            yield from self._heard(window, partial(progress, message))

    def _read(self, recording: Recording) -> _Read:
        try:
            samples = speech_of(recording.audio, 0.0, LONGEST_RECORDING_S)
        except Unusable as problem:
            return _Read(recording, (), 0.0, str(problem))
        pieces = tuple(
            self._extract(piece)
            for piece in split_at_pauses(samples, SAMPLE_RATE_HZ, LONGEST_PIECE_S)
            if len(piece) >= MIN_SAMPLES
        )
        return _Read(recording, pieces, len(samples) / SAMPLE_RATE_HZ)

    def _heard(self, window: Sequence[_Read], poll: Callable[[], None]) -> Iterator[Transcription]:
        hypotheses = iter(
            self._recognise([piece for read in window for piece in read.pieces], poll)
        )
        for read in window:
            yield self._result(read, list(islice(hypotheses, len(read.pieces))))

    @torch.inference_mode()
    def _recognise(self, pieces: Sequence[Features], poll: Callable[[], None]) -> list[Hypothesis]:
        """Decode pieces in batches of like length; results in the order given."""
        plan = plan_batches([len(piece) for piece in pieces], round(BATCH_S / FRAME_S))
        found: dict[int, Hypothesis] = {}
        for batch in plan.batches:
            poll()
            inputs = pad([pieces[index] for index in batch])
            logits = self._recogniser.network(
                input_features=inputs.features.to(self._device, self._dtype),
                attention_mask=inputs.mask.to(self._device),
            ).logits
            lengths = [self._recogniser.output_frames(len(pieces[index])) for index in batch]
            blank_id = self._recogniser.vocabulary.blank_id
            found.update(zip(batch, decode_greedily(logits, lengths, blank_id), strict=True))
        return [found[index] for index in range(len(pieces))]

    def _result(self, read: _Read, hypotheses: Sequence[Hypothesis]) -> Transcription:
        texts = [self._recogniser.vocabulary.decode(hypothesis.ids) for hypothesis in hypotheses]
        # Pieces of a script that puts no spaces between words are joined without one.
        joiner = " " if any(" " in text for text in texts) else ""
        text = joiner.join(filter(None, texts))
        confidence = join(hypotheses).confidence
        return Transcription(
            id=read.recording.id,
            text=text,
            confidence=round(confidence, 4),
            duration_s=round(read.duration_s, 3),
            flags=() if read.problem else _flags(text, confidence, read.duration_s),
            problem=read.problem,
        )


def _flags(text: str, confidence: float, duration_s: float) -> tuple[Flag, ...]:
    checks = (
        (Flag.NO_TEXT, not text),
        (Flag.TOO_FAST, len(text) > FASTEST_SPEECH * max(duration_s, FRAME_S)),
        (Flag.REPETITION, has_repetition(text)),
        (Flag.LOW_CONFIDENCE, bool(text) and confidence < LOW_CONFIDENCE),
    )
    return tuple(flag for flag, is_raised in checks if is_raised)


def has_repetition(text: str) -> bool:
    """Whether something comes four times in a row; by characters, for scripts without spaces."""
    return _STUCK.search(f"{text} ") is not None
