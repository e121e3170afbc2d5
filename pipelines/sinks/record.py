"""A finished transcript as sinks see it: who, what, when, in passages worth finding again.

Plain values; knows no sink and no engine.

    PipelineError
    └─ SinkFailed   a store or service did not take a record; the record's files are untouched
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pipelines.errors import PipelineError

PASSAGE_CHARACTERS = 300
"""Some sentences: long enough to mean something alone, short enough to be one thought."""


class SinkFailed(PipelineError):
    """A store or service refused, or was out of reach after its own retries."""

    code = "SINK_FAILED"


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of one speaker's words; times in seconds of the recording."""

    start_s: float
    end_s: float
    text: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """Something named in a transcript; `kind` is the service's word, `score` its certainty (0…1)."""

    kind: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Record:
    """One recording. `asset_id` is what makes it the same one when it is stored again."""

    asset_id: str
    name: str
    source: str
    text: str
    language: str
    duration_s: float
    passages: tuple[Passage, ...]
    summary: str = ""
    files: tuple[Path, ...] = ()
    entities: tuple[Entity, ...] = ()


class Sink(Protocol):
    """Takes records; storing one a second time replaces it."""

    def store(self, record: Record) -> None:
        """Store one record.

        Raises:
            SinkFailed: it is not stored; nothing of it is left half done.
        """


def passages_of(segments: Iterable[Passage], characters: int = PASSAGE_CHARACTERS) -> list[Passage]:
    """Join consecutive segments of one speaker until they are about `characters` long."""
    joined: list[Passage] = []
    for segment in segments:
        text = segment.text.strip()
        if not text:
            continue
        last = joined[-1] if joined else None
        fits = last and last.speaker == segment.speaker and len(last.text) + len(text) < characters
        if last and fits:
            joined[-1] = replace(last, end_s=segment.end_s, text=f"{last.text} {text}")
        else:
            joined.append(replace(segment, text=text))
    return joined


def texts(passages: Sequence[Passage]) -> list[str]:
    """The passages' words."""
    return [passage.text for passage in passages]
