"""Text for recordings, with a trained recogniser: files in, words with times and confidence out.

Reads a window of recordings at a time, so memory does not grow with their number. Knows no cells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from pipelines.asr.corrector.kinds import load_corrector
from pipelines.asr.w2v2bert import listening, model
from pipelines.asr.w2v2bert.config import FRAME_S, SAMPLE_RATE_HZ
from pipelines.asr.w2v2bert.dataset import Unusable, speech_of
from pipelines.asr.w2v2bert.listening import Listener, Piece
from pipelines.asr.w2v2bert.processor import MIN_SAMPLES
from pipelines.asr.w2v2bert.reader import NOTHING, Reader, Reading, Word
from pipelines.compute import choose_device, choose_dtype
from pipelines.progress import Progress

WINDOW = 64
"""Recordings whose features are in memory together …"""
WINDOW_S = 1200.0
"""… unless they are longer than this (32 kB a second)."""
LONGEST_RECORDING_S = 3600.0

FASTEST_SPEECH = 30.0
"""Characters a second that nobody speaks."""
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
    words: tuple[Word, ...] = ()
    """As they were heard."""
    heard: str = ""
    """The text before a corrector had it."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A decoded recording, cut into pieces."""

    recording: Recording
    pieces: tuple[Piece, ...]
    duration_s: float
    problem: str | None = None


class Transcriber:
    """A loaded recogniser: set up once, used for any number of recordings."""

    def __init__(
        self,
        model_directory: Path,
        *,
        device: str,
        precision: str = "auto",
        batch_share: float = 1.0,
        piece_share: float = 1.0,
    ) -> None:
        """Load the weights onto the device.

        Args:
            model_directory: as a training has left it.
            device: "cpu", "cuda" or "cuda:1".
            precision: "auto", "float32" or "bfloat16".
            batch_share: batches are that share of the usual size.
            piece_share: long recordings are cut into pieces of that share of the usual length.

        Raises:
            BadCheckpoint, DeviceUnavailable: in words for the user.
        """
        processor = choose_device(device)
        recogniser = model.load(model_directory)
        dtype = choose_dtype(precision, processor, width=recogniser.hidden_size)
        recogniser.network.to(processor, dtype).eval()
        self._listener = Listener(
            recogniser,
            batch_s=listening.BATCH_S * batch_share,
            longest_piece_s=listening.LONGEST_PIECE_S * piece_share,
        )
        self._corrector = load_corrector(model_directory)
        self._reader = Reader.load(model_directory, recogniser.vocabulary, recogniser.output_s)

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
        if len(samples) < MIN_SAMPLES:
            return _Read(recording, (), 0.0, "the recording holds no word")
        duration_s = len(samples) / SAMPLE_RATE_HZ
        return _Read(recording, self._listener.cut(samples), duration_s)

    def _heard(self, window: Sequence[_Read], poll: Callable[[], None]) -> Iterator[Transcription]:
        audible = [read for read in window if read.pieces]
        emissions = self._listener.hear([read.pieces for read in audible], poll)
        readings = self._reader.read(emissions)
        texts = [reading.text for reading in readings]
        corrected = self._corrector.correct(texts) if self._corrector else texts
        results = zip(readings, corrected, strict=True)
        for read in window:
            yield self._result(read, *(next(results) if read.pieces else (NOTHING, "")))

    def _result(self, read: _Read, reading: Reading, text: str) -> Transcription:
        doubtful_below = self._reader.decoding.doubtful_below
        return Transcription(
            id=read.recording.id,
            text=text,
            confidence=reading.confidence,
            duration_s=round(read.duration_s, 3),
            flags=() if read.problem else _flags(reading, read.duration_s, doubtful_below),
            problem=read.problem,
            words=reading.words,
            heard=reading.text,
        )


def _flags(reading: Reading, duration_s: float, doubtful_below: float) -> tuple[Flag, ...]:
    text = reading.text
    checks = (
        (Flag.NO_TEXT, not text),
        (Flag.TOO_FAST, len(text) > FASTEST_SPEECH * max(duration_s, FRAME_S)),
        (Flag.REPETITION, has_repetition(text)),
        (Flag.LOW_CONFIDENCE, bool(text) and reading.confidence < doubtful_below),
    )
    return tuple(flag for flag, is_raised in checks if is_raised)


def has_repetition(text: str) -> bool:
    """Whether something comes four times in a row; by characters, for scripts without spaces."""
    return _STUCK.search(f"{text} ") is not None
