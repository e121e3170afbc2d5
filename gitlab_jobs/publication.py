"""What a commit is about to write into people's notebooks, kept on our disk until that was looked at.

A commit may pass over a person's sync although it succeeds (`mending`), so each one is looked at afterwards.
For that, a worker that was killed, or never got a reply, has to find the very commit again: its message
carries a mark that no other commit has, written down here before the first try.

    note ─► commit ─► look (mending) ─► settle

Knows no store and no disk: `ledger` keeps publications, `mending` finds and uses them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from pydantic import TypeAdapter

from gitlab_jobs import paths
from gitlab_jobs.git_objects import blob_id
from gitlab_jobs.store import Change, Update

TRAILER = "Scriptorium-Mark"
MARK_BYTES = 8


@dataclass(frozen=True, slots=True)
class Edit:
    """One notebook as a try would have left it: made from which commit, and the content's blob id."""

    path: str
    base: str | None
    blob_id: str


@dataclass(frozen=True, slots=True)
class Publication:
    """One write with all its tries, of which at most one reaches the branch.

    `is_repair` tells that it puts people's edits back: then there is people's work on both sides.
    """

    mark: str
    edits: tuple[Edit, ...] = ()
    is_repair: bool = False

    def with_try(self, changes: Iterable[Change]) -> Publication:
        """The same write after one more try."""
        made = (
            Edit(change.path, change.base, blob_id(change.content))
            for change in changes
            if isinstance(change, Update) and paths.is_notebook_path(change.path)
        )
        return replace(self, edits=tuple(dict.fromkeys((*self.edits, *made))))


class Journal(Protocol):
    """Where the publications of one job are kept; durable when a method returns."""

    def note(self, publication: Publication) -> None:
        """Keep it, in place of an earlier state of the same write."""

    def settle(self, publication: Publication) -> None:
        """It was looked at, or can never happen any more."""

    def pending(self) -> list[Publication]:
        """What was not settled, oldest first."""


PUBLICATION: TypeAdapter[Publication] = TypeAdapter(Publication)
"""How a publication is written as JSON."""


def new_mark() -> str:
    """A mark that no other commit carries."""
    return secrets.token_hex(MARK_BYTES)


def marked(message: str, mark: str) -> str:
    """A commit message with its mark, as a trailer of its own."""
    return f"{message}\n\n{TRAILER}: {mark}"
