"""What was heard in one recording: text, segments, words, and why a person should look at it.

Plain values that every engine returns and every output is made from; knows no engine and no file format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class Flag(StrEnum):
    """Why a person should look at a transcript; nothing is ever hidden for it."""

    NO_SPEECH = "no_speech"
    TOO_FAST = "too_fast"
    REPETITION = "repetition"
    LOW_CONFIDENCE = "low_confidence"
    UNSURE_LANGUAGE = "unsure_language"
    PROMPT_ECHO = "prompt_echo"
    """The text is a piece of the vocabulary prompt."""
    STOCK_PHRASE = "stock_phrase"
    """What Whisper is known to write where nobody speaks."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word as written, with its punctuation; times in seconds of the recording."""

    start_s: float
    end_s: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech; `confidence` is the mean probability of its words or tokens."""

    start_s: float
    end_s: float
    text: str
    confidence: float
    words: tuple[Word, ...] = ()
    flags: tuple[Flag, ...] = ()
    speaker: str | None = None

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Read what `asdict` made."""
        words = tuple(Word(**word) for word in fields.get("words", ()))
        flags = tuple(Flag(flag) for flag in fields.get("flags", ()))
        return cls(**{**fields, "words": words, "flags": flags})


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard in one recording."""

    text: str
    segments: tuple[Segment, ...]
    language: str
    language_probability: float
    duration_s: float
    confidence: float
    flags: tuple[Flag, ...] = ()
    retries: int = 0
    """How many pieces were decoded again with other settings because they looked wrong."""

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Read what `to_json` made."""
        segments = tuple(Segment.parse(segment) for segment in fields["segments"])
        flags = tuple(Flag(flag) for flag in fields["flags"])
        return cls(**{**fields, "segments": segments, "flags": flags})

    def to_json(self) -> dict[str, Any]:
        """Plain data for another process."""
        return asdict(self)


def nothing_heard(duration_s: float, language: str = "") -> Transcript:
    """The transcript of a recording in which nobody speaks."""
    return Transcript("", (), language, 0.0, round(duration_s, 3), 0.0, (Flag.NO_SPEECH,))
