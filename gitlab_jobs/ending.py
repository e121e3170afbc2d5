"""An attempt's end, written to its workspace before it is published, so that a crash cannot lose it.

Holds everything the final commit is made of except the newest state of the project: the outcome, what the
outbox collected, and the lines around the log. Knows no lease; `publisher` publishes it, also for a
predecessor that was killed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from gitlab_jobs.crashpoints import reach
from gitlab_jobs.outbox import Contents
from gitlab_jobs.outcome import Outcome
from gitlab_jobs.workspace import Workspace

FILE_NAME = "ending.json"


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended and what it publishes; `closing` are the last lines of its log."""

    outcome: Outcome
    contents: Contents
    epochs_completed: int | None
    heading: tuple[str, ...]
    closing: tuple[str, ...]

    def published_contents(self) -> Contents:
        """What of the contents belongs to an end like this."""
        contents = self.contents
        if not self.outcome.publishes_files:
            contents = replace(contents, pointers={}, texts={})
        if not self.outcome.publishes_cells:
            contents = replace(contents, changes={}, takes={})
        return contents


_ENDING: TypeAdapter[Ending] = TypeAdapter(Ending)


def save_ending(workspace: Workspace, ending: Ending) -> None:
    """Write it down durably, whole or not at all."""
    path = workspace.root / FILE_NAME
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(_ENDING.dump_json(ending))
        file.flush()
        os.fsync(file.fileno())
    reach("ending.written")
    temporary.replace(path)
    _sync(workspace.root)


def load_ending(workspace: Workspace) -> Ending | None:
    """What a killed predecessor was about to publish; None if it had not come that far."""
    path = workspace.root / FILE_NAME
    return _ENDING.validate_json(path.read_bytes()) if path.exists() else None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
