"""Changes to cells as a job makes them, applied to one notebook."""

from __future__ import annotations

import json
from pathlib import Path

from support.codex_builders import (
    BOT,
    PATH,
    Json,
    as_bytes,
)

from gitlab_jobs.codex.apply import Applied, EditContext, apply_changes
from gitlab_jobs.codex.changes import AddTake, CellChange, SetText, TakeMedia
from gitlab_jobs.lfs import Pointer

SUBMITTED = 100_000_000_000_000
NOW = SUBMITTED + 60_000
AUDIO = Path("work/out.webm")
OTHER = Path("work/other.webm")
POINTER = Pointer("ab" * 32, 45_000)
MEDIA = TakeMedia("audio/webm", sample_rate_hz=48_000, channels=1, duration_s=6.0)
CONTEXT = EditContext(
    BOT, "job1", SUBMITTED, NOW, {AUDIO: POINTER, OTHER: Pointer("cd" * 32, 46_000)}
)
SAMPLE = Path(__file__).parents[1] / "data" / "codex" / "synthetic-audio-cells.codex"


def text(
    cell_id: str = "1", words: str = "heard", *, listed: bool = False, take_id: str | None = None
) -> SetText:
    """An asr result."""
    return SetText(cell_id, words, take_id, listed)


def audio(
    cell_id: str = "1", spoken: str = "text", *, listed: bool = False, file: Path = AUDIO
) -> AddTake:
    """A tts result."""
    return AddTake(cell_id, file, MEDIA, spoken, listed)


def apply(book: Json, *changes: CellChange, context: EditContext = CONTEXT) -> Applied:
    """Apply changes to a notebook."""
    return apply_changes(PATH, as_bytes(book), changes, context)


def cell_after(applied: Applied, position: int = 0) -> Json:
    """A cell of the result."""
    found: Json = json.loads(applied.content)["cells"][position]
    return found


def refused(book: Json, change: CellChange) -> str:
    """The reason why one change was dropped without touching a byte."""
    applied = apply(book, change)
    assert applied.content == as_bytes(book)
    assert (applied.done, dict(applied.pointers), applied.is_changed) == ((), {}, False)
    (dropped,) = applied.dropped
    assert dropped.cell_id == change.cell_id
    return dropped.reason


def entry(value: str, at: int, kind: str = "llm-generation") -> Json:
    """A history entry by the worker, its keys in order."""
    return {
        "editMap": ["value"], "value": value, "timestamp": at, "type": kind, "author": BOT, "validatedBy": [],
    }  # fmt: skip


# Texts
