"""Window after window through faster-whisper itself: the reference way, and the last resort for a piece.

No window is conditioned on the text before it, and silence is left out: the two measures that keep Whisper
from inventing text. Sampling with rising temperature is faster-whisper's own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from faster_whisper import WhisperModel

from pipelines.asr.whisper.assembly import Heading, assemble
from pipelines.asr.whisper.engine import SAMPLE_RATE_HZ, Listening
from pipelines.asr.whisper.suspicion import flags_of
from pipelines.asr.whisper.transcript import Segment, Transcript, Word, nothing_heard
from pipelines.audio.decode import Samples
from pipelines.audio.silence import is_silent
from pipelines.progress import Progress, ignore_progress

LONGEST_SILENT_INVENTION_S = 2.0
"""Silence around improbable words that is skipped; needs word times."""
LANGUAGE_PLACES = 3
"""Windows of 30 s at which a language is looked for until one is sure."""


class Sequential:
    """One recording after the other, on a loaded model."""

    def __init__(self, model: WhisperModel) -> None:
        self._model = model

    def transcribe(
        self, samples: Samples, listening: Listening, progress: Progress = ignore_progress
    ) -> Transcript:
        """Transcribe one recording; `progress` is called after each segment."""
        duration_s = len(samples) / SAMPLE_RATE_HZ
        progress("Transcribing", fraction=0.0)
        if is_silent(samples, SAMPLE_RATE_HZ):
            return nothing_heard(duration_s, listening.language or "")
        # Nothing is computed before the generator is consumed.
        stream, info = self._model.transcribe(
            np.ascontiguousarray(samples),
            language=listening.language,
            beam_size=listening.beam,
            vad_filter=True,
            condition_on_previous_text=False,
            hotwords=listening.prompt
            or None,  # reaches every window; initial_prompt only the first
            word_timestamps=listening.has_words,
            hallucination_silence_threshold=(
                LONGEST_SILENT_INVENTION_S if listening.has_words else None
            ),
            language_detection_segments=LANGUAGE_PLACES,
        )
        segments: list[Segment] = []
        for raw in stream:
            progress("Transcribing", fraction=min(1.0, raw.end / duration_s))
            earliest_s = segments[-1].end_s if segments else 0.0
            segments.append(_segment(raw, earliest_s, duration_s, listening.prompt))
        probability = 1.0 if listening.language else float(info.language_probability)
        return assemble(segments, Heading(duration_s, str(info.language), probability))


def _segment(raw: Any, earliest_s: float, last_s: float, prompt: str) -> Segment:
    """One segment with repaired times: in order, inside the recording, nothing before its start."""

    def inside(time_s: float, least_s: float) -> float:
        return round(min(max(float(time_s), least_s), last_s), 3)

    start_s = inside(raw.start, earliest_s)
    words: list[Word] = []
    for word in raw.words or ():
        word_start_s = inside(word.start, words[-1].end_s if words else start_s)
        word_end_s = inside(word.end, word_start_s)
        words.append(Word(word_start_s, word_end_s, word.word, round(float(word.probability), 4)))
    text = raw.text.strip()
    end_s = max(inside(raw.end, start_s), words[-1].end_s if words else start_s)
    return Segment(
        start_s,
        end_s,
        text,
        round(math.exp(min(0.0, float(raw.avg_logprob))), 4),
        tuple(words),
        flags_of(text, end_s - start_s, no_speech=float(raw.no_speech_prob), prompt=prompt),
    )
