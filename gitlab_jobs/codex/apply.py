"""A job's intended changes, applied to one notebook as it stands at the branch head.

Pure: bytes and intentions in, bytes and pointer files out. It is called again with newer bytes
whenever a commit was refused, so nothing here is ever based on an older notebook. Knows no store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gitlab_jobs.callbacks import Skipped
from gitlab_jobs.codex.attachments import add_take
from gitlab_jobs.codex.cells import Cell, cells_by_id
from gitlab_jobs.codex.changes import CellChange, SetText
from gitlab_jobs.codex.context import CellPlace, EditContext, NotApplied
from gitlab_jobs.codex.edits import set_text
from gitlab_jobs.codex.notebook import JsonObject, Notebook, load_notebook
from gitlab_jobs.codex.timestamps import base_ms
from gitlab_jobs.lfs import Pointer

__all__ = ["Applied", "EditContext", "apply_changes"]


@dataclass(frozen=True)
class Applied:
    """What became of the changes.

    `content` is the whole notebook, byte for byte as read where nothing was changed. `pointers` are the
    files to create in the same commit. `done` names cells that now are as intended, whether by this
    call or by an earlier attempt; `dropped` names the others, with the reason.
    """

    content: bytes
    pointers: Mapping[str, Pointer]
    done: tuple[str, ...]
    dropped: tuple[Skipped, ...]
    is_changed: bool


def apply_changes(
    path: str, content: bytes, changes: Sequence[CellChange], context: EditContext
) -> Applied:
    """Apply changes to a notebook.

    Args:
        path: the notebook's repository path; new takes are named after it.
        content: its bytes at the branch head.
        changes: what the job wants; several may concern one cell.
        context: on whose behalf.

    Raises:
        NotebookError: if the file is no notebook; nothing may be written then.
    """
    work = _Work(load_notebook(path, content), context)
    for change in changes:
        work.apply(change)
    return work.result()


class _Work:
    """One pass over one notebook; collects changed cells until the end."""

    def __init__(self, notebook: Notebook, context: EditContext) -> None:
        self._notebook = notebook
        self._context = context
        self._base_ms = base_ms(notebook.metadata)
        self._cells = cells_by_id(notebook)
        self._changed: dict[int, JsonObject] = {}
        self._pointers: dict[str, Pointer] = {}
        self._done: dict[str, None] = {}
        self._dropped: list[Skipped] = []

    def apply(self, change: CellChange) -> None:
        cell = self._cells.get(change.cell_id)
        if cell is None:
            self._dropped.append(Skipped(change.cell_id, None, "it is no longer in the file"))
            return
        strict = self._notebook.keeps_source_tags
        place = CellPlace(cell, self._base_ms, strict, self._context)
        try:
            self._keep(cell, self._changed_json(place, change))
            self._done[cell.id] = None
        except NotApplied as reason:
            self._dropped.append(Skipped(cell.id, cell.reference, str(reason)))

    def result(self) -> Applied:
        return Applied(
            content=self._notebook.save(self._changed),
            pointers=self._pointers,
            done=tuple(self._done),
            dropped=tuple(self._dropped),
            is_changed=bool(self._changed),
        )

    def _changed_json(self, place: CellPlace, change: CellChange) -> JsonObject | None:
        if isinstance(change, SetText):
            return set_text(place, change)
        added = add_take(place, change)
        if added is None:
            return None
        self._pointers[added.pointer_path] = added.pointer
        return added.cell

    def _keep(self, cell: Cell, json: JsonObject | None) -> None:
        if json is not None:
            self._changed[cell.position] = json
            self._cells[cell.id] = Cell(cell.notebook, cell.position, json)
