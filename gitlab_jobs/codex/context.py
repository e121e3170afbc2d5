"""What applying a change needs to know besides the change: the job, the cell's place, the checks.

Knows no JSON shapes; `edits` and `attachments` share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gitlab_jobs.codex.cells import Cell, why_not_alive
from gitlab_jobs.lfs import Pointer


class NotApplied(Exception):
    """A change that no longer fits its cell: a normal outcome, with words for a translator."""


@dataclass(frozen=True)
class EditContext:
    """On whose behalf notebooks are changed.

    Args:
        bot: the username of the worker's account, which becomes the author.
        job_id: the job that asked.
        submitted_at_ms: when it was submitted, if known.
        now_ms: the present, for the dates of new takes.
        pointers: uploaded audio by the local path that changes name.
    """

    bot: str
    job_id: str
    submitted_at_ms: int | None
    now_ms: int
    pointers: Mapping[Path, Pointer]


@dataclass(frozen=True)
class CellPlace:
    """A cell at the branch head, with what its notebook tells about it."""

    cell: Cell
    base_ms: int
    keeps_source_tags: bool
    context: EditContext

    def check_writable(self) -> None:
        """Refuse cells that nobody may fill.

        Raises:
            NotApplied: if the cell is gone, is no verse text, or is locked.
        """
        if reason := why_not_alive(self.cell):
            raise NotApplied(reason)
        if self.cell.is_locked:
            raise NotApplied("it is locked")
