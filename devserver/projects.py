"""Projects and what happens to them: plain values that `world.py` keeps and everyone else reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Project:
    """One repository and its settings; a change makes a new value, so ask the world again."""

    id: int
    path: str
    name: str
    visibility: str
    default_branch: str
    lfs_enabled: bool
    created_at: datetime
    last_activity_at: datetime
    archived: bool

    @property
    def namespace(self) -> str:
        """The path of the group or user the project lies in."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Push:
    """One movement of one branch, by `git push` or by the API; a commit id None is "no branch"."""

    id: int
    project_id: int
    user_id: int
    created_at: datetime
    branch: str
    commit_from: str | None
    commit_to: str | None
    commit_count: int


class CommitStage(StrEnum):
    """Where others may come between the steps of an API commit."""

    ASKED = "asked"
    """Nothing was looked at yet."""
    VALIDATED = "validated"
    """`last_commit_id` was found unchanged; the parent is not pinned yet."""
    BUILT = "built"
    """The commit exists; the branch is not moved yet."""
    DONE = "done"
    """The branch was moved; nobody was told yet."""
