"""Writing recognised text into a cell: the value, and the entry without which it would not last.

Works on one cell as it stands at the branch head, and says why it does nothing if things have changed
since the text was made. Knows no file and no store (`apply` does).
"""

from __future__ import annotations

from typing import Any

from gitlab_jobs.codex.cells import VALUE_PATH
from gitlab_jobs.codex.changes import SetText
from gitlab_jobs.codex.context import CellPlace, NotApplied
from gitlab_jobs.codex.notebook import JsonObject
from gitlab_jobs.codex.takes import selected_take
from gitlab_jobs.codex.text import html_of
from gitlab_jobs.codex.timestamps import text_ms


def set_text(place: CellPlace, change: SetText) -> JsonObject | None:
    """The cell with the text written, or None if an earlier attempt has written it already.

    Raises:
        NotApplied: with the reason, if the cell must be left as it is.
    """
    cell = place.cell
    value = html_of(change.text)
    if _is_written(place, change, value):
        return None
    _check(place, change, value)
    redo_from_ms = place.context.submitted_at_ms if change.listed else None
    entries = cell.metadata.get("edits")
    edits = list(entries) if isinstance(entries, list) else []
    timestamp = text_ms(cell, place.base_ms, redo_from_ms)
    if cell.text and cell.newest_value_edit is None:
        author = place.context.bot
        edits.append(_entry(cell.value, place.base_ms, "initial-import", author))
        timestamp = max(timestamp, place.base_ms + 1)
    edits.append(_entry(value, timestamp, "llm-generation", place.context.bot))
    metadata = {**cell.metadata, "edits": edits}
    return {**cell.json, "value": value, "metadata": metadata}


def _is_written(place: CellPlace, change: SetText, value: str) -> bool:
    """Whether this job has been here: the text stands, or one that another attempt of it wrote."""
    newest = place.cell.newest_value_edit
    if newest is None or newest.author != place.context.bot or newest.value != place.cell.value:
        return False
    if newest.value == value or not change.listed:
        return True
    submitted = place.context.submitted_at_ms
    return submitted is not None and newest.timestamp >= submitted


def _check(place: CellPlace, change: SetText, value: str) -> None:
    cell = place.cell
    if not value:
        raise NotApplied("nothing was recognised in its recording")
    place.check_writable()
    if not change.listed:
        if not cell.is_empty:
            raise NotApplied("somebody has written text in the meantime")
        if place.keeps_source_tags:
            raise NotApplied("its file must keep the tags of the source text")
    elif _was_edited_since(place):
        raise NotApplied("somebody has edited it after the job was submitted")
    take = selected_take(cell)
    if change.take_id is not None and (take is None or take.id != change.take_id):
        raise NotApplied("another recording has been chosen in the meantime")


def _was_edited_since(place: CellPlace) -> bool:
    newest, submitted = place.cell.newest_value_edit, place.context.submitted_at_ms
    if newest is None or submitted is None or newest.author == place.context.bot:
        return False
    return newest.timestamp > submitted


def _entry(value: str, timestamp: int, kind: str, author: str) -> dict[str, Any]:
    """One history entry, its keys in the editor's order."""
    return {
        "editMap": list(VALUE_PATH),
        "value": value,
        "timestamp": timestamp,
        "type": kind,
        "author": author,
        "validatedBy": [],
    }
