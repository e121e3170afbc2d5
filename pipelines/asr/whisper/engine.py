"""Whisper over faster-whisper: one loaded model, one recording at a time, with times.

Voice activity is detected first and no window is conditioned on the text before it: the two
measures that keep Whisper from inventing text in silence. Knows no cells.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper import WhisperModel

from pipelines.asr.whisper.weights import find_weights
from pipelines.audio.decode import Samples, decode
from pipelines.audio.silence import is_silent
from pipelines.compute import choose_device
from pipelines.errors import DeviceUnavailable, ModelNotFound
from pipelines.progress import Progress, ignore_progress
from pipelines.text.normalize import canonical

SAMPLE_RATE_HZ = 16_000
BEAM = 5
PRECISIONS = {"auto": "auto", "float32": "float32", "bfloat16": "bfloat16", "int8": "int8"}
"""Our words and CTranslate2's; on a CPU "auto" means int8, which is twice as fast at equal errors."""

FASTEST_SPEECH = 26.0
"""Characters a second above which a text is not what was said."""
MOST_COMPRESSIBLE = 2.4
"""Texts that zlib shrinks more than this repeat themselves (threshold of the original Whisper)."""
LOW_CONFIDENCE = 0.5
UNSURE_LANGUAGE = 0.5


class Flag(StrEnum):
    """Why a person should look at a transcript; it is never hidden for it."""

    NO_SPEECH = "no_speech"
    TOO_FAST = "too_fast"
    REPETITION = "repetition"
    LOW_CONFIDENCE = "low_confidence"
    UNSURE_LANGUAGE = "unsure_language"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech; `confidence` is the mean probability of its tokens."""

    start_s: float
    end_s: float
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard in one recording."""

    text: str
    segments: tuple[Segment, ...]
    language: str
    language_probability: float
    duration_s: float
    confidence: float
    flags: tuple[Flag, ...]


class WhisperEngine:
    """A loaded Whisper model: set up once, used for any number of recordings."""

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "cpu",
        precision: str = "auto",
        language: str | None = None,
    ) -> None:
        """Load weights from a directory, or the bundled ones for "tiny".

        `language` is a code that Whisper knows ("en"), or None to detect it in each recording.

        Raises:
            ModelNotFound, DeviceUnavailable: in words for the user.
        """
        processor = choose_device(device)
        if precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise DeviceUnavailable(f'Precision "{precision}" is not known; use one of {known}.')
        compute_type = PRECISIONS[precision]
        if compute_type == "auto" and processor.type == "cpu":
            compute_type = "int8"
        directory = find_weights(model)
        try:
            self._model = WhisperModel(
                str(directory),
                device=processor.type,
                device_index=processor.index or 0,
                compute_type=compute_type,
                local_files_only=True,
            )
        except ValueError as error:
            raise DeviceUnavailable(f"Whisper cannot run in this form here: {error}.") from error
        except RuntimeError as error:
            raise ModelNotFound(
                "The Whisper model is damaged or of another kind; it cannot be loaded."
            ) from error
        self._language = self._checked_language(language)

    def transcribe(self, path: Path, progress: Progress = ignore_progress) -> Transcript:
        """Transcribe one recording; `progress` is called after each segment.

        Raises:
            AudioUnreadable: not a recording.
        """
        progress("Transcribing", fraction=0.0)
        audio = decode(path, SAMPLE_RATE_HZ)
        if is_silent(audio.samples, SAMPLE_RATE_HZ):
            return _nothing_heard(self._language or "", audio.duration_s)
        segments, info = self._decoded(audio.samples, progress)
        text = canonical(" ".join(segment.text for segment in segments))
        confidence = _mean_confidence(segments)
        language_probability = 1.0 if self._language else float(info.language_probability)
        return Transcript(
            text=text,
            segments=tuple(segments),
            language=str(info.language),
            language_probability=round(language_probability, 4),
            duration_s=round(audio.duration_s, 3),
            confidence=round(confidence, 4),
            flags=_flags(text, confidence, language_probability, audio.duration_s),
        )

    def _decoded(self, samples: Samples, progress: Progress) -> tuple[list[Segment], Any]:
        """Consume the generator; nothing is computed before that."""
        duration_s = len(samples) / SAMPLE_RATE_HZ
        stream, info = self._model.transcribe(
            np.ascontiguousarray(samples),
            language=self._language,
            beam_size=BEAM,
            vad_filter=True,
            condition_on_previous_text=False,
        )
        segments: list[Segment] = []
        for raw in stream:
            progress("Transcribing", fraction=min(1.0, raw.end / duration_s))
            start_s = max(0.0, float(raw.start), segments[-1].end_s if segments else 0.0)
            end_s = min(max(float(raw.end), start_s), duration_s)
            probability = math.exp(min(0.0, float(raw.avg_logprob)))
            segments.append(
                Segment(round(start_s, 3), round(end_s, 3), raw.text.strip(), round(probability, 4))
            )
        return segments, info

    def _checked_language(self, language: str | None) -> str | None:
        """A code that the model knows, without a region; None is detected where there is a choice."""
        if language is None:
            return None if self._model.model.is_multilingual else "en"
        code = language.lower().partition("-")[0]
        if code not in self._model.supported_languages:
            raise ModelNotFound(
                f'This Whisper model does not know the language "{language}"; leave it out to have '
                "it detected, or train a recogniser for the project."
            )
        return code


def _nothing_heard(language: str, duration_s: float) -> Transcript:
    return Transcript("", (), language, 0.0, round(duration_s, 3), 0.0, (Flag.NO_SPEECH,))


def _mean_confidence(segments: Sequence[Segment]) -> float:
    """Mean over segments, weighted by their text."""
    characters = sum(len(segment.text) for segment in segments)
    if not characters:
        return 0.0
    return sum(segment.confidence * len(segment.text) for segment in segments) / characters


def _flags(
    text: str, confidence: float, language_probability: float, duration_s: float
) -> tuple[Flag, ...]:
    encoded = text.encode()
    ratio = len(encoded) / len(zlib.compress(encoded)) if encoded else 0.0
    checks = (
        (Flag.NO_SPEECH, not text),
        (Flag.TOO_FAST, len(text) > FASTEST_SPEECH * duration_s),
        (Flag.REPETITION, ratio > MOST_COMPRESSIBLE),
        (Flag.LOW_CONFIDENCE, bool(text) and confidence < LOW_CONFIDENCE),
        (Flag.UNSURE_LANGUAGE, bool(text) and language_probability < UNSURE_LANGUAGE),
    )
    return tuple(flag for flag, is_raised in checks if is_raised)
