"""The outbox: everything an attempt wants to publish, kept until the one final commit.

Large objects are already on the server when they get here (their pointers are what is kept). Notebook
changes are intentions; `compose` applies them to the newest notebooks each time it is called, so a
person's edit in between is never overwritten.

Knows no lease and no GitLab; `Lease.finish` commits what `compose` returns.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gitlab_jobs.codex.apply import EditContext, apply_changes
from gitlab_jobs.codex.changes import CellChange
from gitlab_jobs.codex.notebook import NotebookError
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.store import (
    Change,
    Create,
    CreatePointer,
    FileVersion,
    ProjectStore,
    Update,
)


class Outbox:
    """Collects from the service thread, composes in the publishing thread."""

    def __init__(self, store: ProjectStore) -> None:
        """Start empty."""
        self._store = store
        self._lock = threading.Lock()
        self._pointers: dict[str, Pointer] = {}
        self._texts: dict[str, bytes] = {}
        self._changes: dict[str, list[CellChange]] = {}
        self._takes: dict[Path, Pointer] = {}
        self.written = 0
        self.dropped: list[str] = []

    def add_pointer(self, path: str, pointer: Pointer) -> None:
        """Publish a large file at this repository path."""
        with self._lock:
            self._pointers[path] = pointer

    def add_text(self, path: str, content: bytes) -> None:
        """Publish a small text file; an empty one is refused, since it breaks the editor's sync."""
        if not content:
            raise ValueError(f"{path} is empty; an empty file must never be committed")
        with self._lock:
            self._texts[path] = content

    def add_changes(
        self, notebook: str, changes: Sequence[CellChange], takes: Mapping[Path, Pointer]
    ) -> None:
        """Change cells of a notebook; `takes` holds the uploaded audio of `AddTake` changes."""
        with self._lock:
            self._changes.setdefault(notebook, []).extend(changes)
            self._takes.update(takes)

    def compose(self, context: EditContext, *, files: bool, cells: bool) -> list[Change]:
        """Build the result part of the final commit from the newest files on the branch.

        Args:
            context: who edits, and for which job.
            files: whether staged files belong to this end of the job.
            cells: whether changes to notebooks do.
        """
        with self._lock:
            pointers = self._pointers if files else {}
            texts = self._texts if files else {}
            wanted = self._changes if cells else {}
            present = self._store.read({*pointers, *texts, *wanted})
            changes = _put_files(pointers, texts, present)
            self.written, self.dropped = 0, []
            for notebook, intended in wanted.items():
                found = present.get(notebook)
                if found is None:
                    self.dropped.append(f"{notebook} is gone")
                else:
                    changes += self._edit(found, intended, context)
            return changes

    def _edit(
        self, found: FileVersion, intended: Sequence[CellChange], context: EditContext
    ) -> list[Change]:
        whole = replace(context, pointers=self._takes)
        try:
            applied = apply_changes(found.path, found.content, intended, whole)
        except NotebookError as error:
            self.dropped.append(f"all of {found.path}: {error}")
            return []
        self.written += len(applied.done)
        self.dropped += [
            f"{item.reference or item.cell_id}: {item.reason}" for item in applied.dropped
        ]
        changes: list[Change] = [CreatePointer(path, p) for path, p in applied.pointers.items()]
        if applied.is_changed:
            changes.append(Update(found.path, applied.content, found.commit_id))
        return changes


def _put_files(
    pointers: Mapping[str, Pointer],
    texts: Mapping[str, bytes],
    present: Mapping[str, FileVersion],
) -> list[Change]:
    changes: list[Change] = []
    for path, pointer in pointers.items():
        # An update is never converted by the server, so the pointer text can be sent as it is.
        exists = path in present
        changes.append(Update(path, pointer.text()) if exists else CreatePointer(path, pointer))
    for path, content in texts.items():
        found = present.get(path)
        if found is None:
            changes.append(Create(path, content))
        elif found.content != content:
            changes.append(Update(path, content, found.commit_id))
    return changes
