"""Puts segments together into a transcript: one text, one confidence, the flags of its parts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.asr.whisper.suspicion import flags_of
from pipelines.asr.whisper.transcript import Flag, Segment, Transcript, nothing_heard
from pipelines.text.normalize import canonical

LOW_CONFIDENCE = 0.5
UNSURE_LANGUAGE = 0.5


@dataclass(frozen=True, slots=True)
class Heading:
    """What holds for a whole recording."""

    duration_s: float
    language: str
    language_probability: float
    retries: int = 0


def assemble(segments: Sequence[Segment], heading: Heading) -> Transcript:
    """Make the transcript of one recording from its segments, in order."""
    text = canonical(" ".join(segment.text for segment in segments))
    if not text:
        return nothing_heard(heading.duration_s, heading.language)
    confidence = mean_confidence(segments)
    raised = {flag for segment in segments for flag in segment.flags}
    raised.update(flags_of(text, heading.duration_s))
    if confidence < LOW_CONFIDENCE:
        raised.add(Flag.LOW_CONFIDENCE)
    if heading.language_probability < UNSURE_LANGUAGE:
        raised.add(Flag.UNSURE_LANGUAGE)
    return Transcript(
        text=text,
        segments=tuple(segments),
        language=heading.language,
        language_probability=round(heading.language_probability, 4),
        duration_s=round(heading.duration_s, 3),
        confidence=round(confidence, 4),
        flags=tuple(flag for flag in Flag if flag in raised),
        retries=heading.retries,
    )


def mean_confidence(segments: Sequence[Segment]) -> float:
    """Mean over segments, weighted by their text."""
    characters = sum(len(segment.text) for segment in segments)
    if not characters:
        return 0.0
    return sum(segment.confidence * len(segment.text) for segment in segments) / characters
