"""The times that a worker's changes carry, chosen so that people win the editor's merge.

The merge takes the newest entry by wall clock. So a change is stamped just after what it was based on,
not with the present: whatever a person did later, also offline and not yet synced, is newer
(`docs/decisions/0004-timestamps-that-let-people-win.md`). Knows no JSON beyond one cell.
"""

from __future__ import annotations

from datetime import datetime

from gitlab_jobs.codex.cells import Cell, milliseconds
from gitlab_jobs.codex.notebook import JsonObject
from gitlab_jobs.codex.takes import takes_of


def base_ms(notebook_metadata: JsonObject) -> int:
    """The earliest moment anything in a notebook can be from: when its source was made, else 1."""
    created = notebook_metadata.get("sourceCreatedAt")
    try:
        moment = datetime.fromisoformat(created) if isinstance(created, str) else None
        return 1 if moment is None else max(1, int(moment.timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        return 1


def text_ms(cell: Cell, base: int, redo_from_ms: int | None) -> int:
    """When a new text is from: just after the newest text the cell has had.

    Args:
        cell: the cell as it is now.
        base: the notebook's `base_ms`, used for cells without a history of text.
        redo_from_ms: the job's submission, if the user asked to replace this text.
    """
    newest = cell.newest_value_edit
    after = base if newest is None else newest.timestamp + 1
    return max(after, redo_from_ms or 0)


def selection_ms(cell: Cell, base: int, redo_from_ms: int | None) -> int:
    """When a new take was chosen: just after the newest choice and the newest take of the cell.

    Takes the same arguments as `text_ms`.
    """
    newest = max([selected_at_ms(cell), *(take.created_at for take in takes_of(cell).values())])
    return max(newest + 1 if newest > 0 else base, redo_from_ms or 0)


def selected_at_ms(cell: Cell) -> int:
    """When the current choice of a take was made; a missing time counts as 0, as in the merge."""
    return milliseconds(cell.metadata.get("selectionTimestamp"))
