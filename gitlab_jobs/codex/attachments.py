"""Adding a generated take to a cell and choosing it, so that the editor plays and exports it.

Works on one cell as it stands at the branch head. A take's id follows from cell, job and content, so
that a second attempt recognises what the first one left. Knows no file and no store (`apply` does).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gitlab_jobs.codex.cells import Cell
from gitlab_jobs.codex.changes import AddTake, TakeMedia
from gitlab_jobs.codex.context import CellPlace, NotApplied
from gitlab_jobs.codex.notebook import JsonObject
from gitlab_jobs.codex.takes import (
    is_selection_cleared,
    pointer_path,
    selected_take,
    take_id_of,
    take_id_prefix,
    take_url,
)
from gitlab_jobs.codex.text import plain_text
from gitlab_jobs.codex.timestamps import selected_at_ms, selection_ms
from gitlab_jobs.lfs import Pointer


@dataclass(frozen=True)
class AddedTake:
    """The changed cell, and the pointer file that must be committed with it."""

    cell: JsonObject
    pointer_path: str
    pointer: Pointer


def add_take(place: CellPlace, change: AddTake) -> AddedTake | None:
    """The cell with the take added and selected, or None if an earlier attempt has added one.

    Raises:
        NotApplied: with the reason, if the cell must be left as it is.
    """
    cell, context = place.cell, place.context
    attachments = _attachments(cell)
    prefix = take_id_prefix(cell.id, cell.notebook, context.job_id, context.submitted_at_ms or 0)
    if any(take_id.startswith(prefix) for take_id in attachments):
        return None
    _check(place, change)
    pointer = context.pointers[change.audio]
    take_id = take_id_of(prefix, pointer.oid)
    url = take_url(cell.notebook, take_id, change.audio.suffix.lstrip(".").lower() or "webm")
    redo_from_ms = context.submitted_at_ms if change.listed else None
    metadata = {
        **cell.metadata,
        "attachments": {**attachments, take_id: _attachment(place, url, change.media, pointer)},
        "selectedAudioId": take_id,
        "selectionTimestamp": selection_ms(cell, place.base_ms, redo_from_ms),
    }
    return AddedTake({**cell.json, "metadata": metadata}, pointer_path(url), pointer)


def _check(place: CellPlace, change: AddTake) -> None:
    cell = place.cell
    place.check_writable()
    if plain_text(change.spoken_text) != cell.text:
        raise NotApplied("its text has changed in the meantime")
    take = selected_take(cell)
    if not change.listed:
        if take is not None:
            raise NotApplied("somebody has recorded it in the meantime")
        if is_selection_cleared(cell):
            raise NotApplied("its recordings were deselected in the meantime")
    elif _was_chosen_since(place):
        raise NotApplied("its recording was changed after the job was submitted")


def _was_chosen_since(place: CellPlace) -> bool:
    """Whether a person recorded, chose or rejected a take after asking for this one."""
    take, submitted = selected_take(place.cell), place.context.submitted_at_ms
    if submitted is None or (take is not None and take.created_by == place.context.bot):
        return False
    return max(selected_at_ms(place.cell), take.created_at if take else 0) > submitted


def _attachments(cell: Cell) -> dict[str, Any]:
    attachments = cell.metadata.get("attachments")
    return dict(attachments) if isinstance(attachments, dict) else {}


def _attachment(place: CellPlace, url: str, media: TakeMedia, pointer: Pointer) -> dict[str, Any]:
    """The seven keys of a recording, in the editor's order."""
    duration_s = max(media.duration_s, 0.001)
    return {
        "url": url,
        "type": "audio",
        "createdAt": place.context.now_ms,
        "updatedAt": place.context.now_ms,
        "isDeleted": False,
        "createdBy": place.context.bot,
        "metadata": {
            "mimeType": media.mime_type,
            "sizeBytes": pointer.size,
            "sampleRate": media.sample_rate_hz,
            "channels": media.channels,
            "durationSec": round(duration_s, 3),
            "bitrateKbps": round(pointer.size * 8 / duration_s / 1000),
        },
    }
