"""What the repository answers with: tree entries and commits as plain values, no pygit2 objects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

EMPTY_TREE_ID = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a tree; `type` is blob, tree or commit (a submodule), `mode` six octal digits."""

    id: str
    name: str
    type: str
    path: str
    mode: str


@dataclass(frozen=True, slots=True)
class Signature:
    """Who and when; `at` keeps the offset that was written."""

    name: str
    email: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit without its content."""

    id: str
    tree_id: str
    parent_ids: tuple[str, ...]
    message: str
    author: Signature
    committer: Signature

    @property
    def title(self) -> str:
        """The first line of the message."""
        return self.message.strip().partition("\n")[0]


@dataclass(frozen=True, slots=True)
class DiffSize:
    """Lines a commit added and deleted against its first parent."""

    additions: int
    deletions: int
