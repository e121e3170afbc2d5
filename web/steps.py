"""The steps of a job at the controller: each names the states it may come from, and tells whoever waits.

Knows neither worker nor HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from web.protocol import ErrorCode, Status
from web.store import Job, Store


class JobSteps:
    """Moves jobs in the store; safe from any thread."""

    def __init__(self, store: Store, note: Callable[[], None]) -> None:
        """Describe them.

        Args:
            store: the jobs.
            note: wakes those who wait for a change.
        """
        self._store = store
        self.note = note

    def move(self, job: Job, sources: Sequence[Status], **changes: Any) -> bool:
        """Change a job if it is in one of these states; says whether it was."""
        was_there = self._store.move(job.id, sources, **changes)
        if was_there:
            self.note()
        return was_there

    def fail(self, job: Job, source: Status, code: ErrorCode, words: str, **more: Any) -> bool:
        """End a job that is in this state; says whether it was."""
        return self.move(job, [source], **failed(code, words), **more)

    def see(self, job: Job, stage: str, percent: int) -> None:
        """Note how far a running job is, at this moment."""
        news = {"stage": stage, "percent": percent, "last_seen_at": time.time()}
        self._store.move(job.id, [Status.RUNNING], **news)
        if (job.stage, job.percent) != (stage, percent):
            self.note()


def failed(code: ErrorCode, words: str) -> dict[str, Any]:
    """What changes in a job that fails."""
    return {
        "status": Status.FAILED,
        "finished_at": time.time(),
        "error_code": code,
        "error_message": words,
    }
