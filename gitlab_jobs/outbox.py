"""The outbox: everything an attempt wants to publish, kept until the one final commit.

Large objects are already on the server when they get here (their pointers are what is kept). Notebook
changes are intentions, which `composition` applies to the newest notebooks. Knows no store.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gitlab_jobs.codex.changes import CellChange
from gitlab_jobs.lfs import Pointer


@dataclass(frozen=True, slots=True)
class Contents:
    """What is to be published: by repository path, and by local path for takes."""

    pointers: Mapping[str, Pointer] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, tuple[CellChange, ...]] = field(default_factory=dict)
    takes: Mapping[Path, Pointer] = field(default_factory=dict)


class Outbox:
    """Collects from the service thread; asked for its contents when the work is done."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = threading.Lock()
        self._pointers: dict[str, Pointer] = {}
        self._texts: dict[str, str] = {}
        self._changes: dict[str, list[CellChange]] = {}
        self._takes: dict[Path, Pointer] = {}

    def add_pointer(self, path: str, pointer: Pointer) -> None:
        """Publish a large file at this repository path."""
        with self._lock:
            self._pointers[path] = pointer

    def add_text(self, path: str, content: str) -> None:
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

    def clear(self) -> None:
        """Forget everything: another process begins the job again."""
        with self._lock:
            self._pointers.clear()
            self._texts.clear()
            self._changes.clear()
            self._takes.clear()

    def contents(self) -> Contents:
        """Everything that was collected so far."""
        with self._lock:
            return Contents(
                pointers=dict(self._pointers),
                texts=dict(self._texts),
                changes={notebook: tuple(wanted) for notebook, wanted in self._changes.items()},
                takes=dict(self._takes),
            )
