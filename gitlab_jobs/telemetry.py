"""What the daemon has done since its start, in plain counts: looks at the projects, jobs by how they ended.

Written by the worker's loop, read by whoever shows metrics. Knows no metric system.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from gitlab_jobs.job import Job

HANDED_BACK = "handed_back"
"""To other workers: the daemon was stopped, or the lease was lost."""
BROKE = "broke"
"""In an unforeseen way; the job is tried again."""


@dataclass(frozen=True, slots=True)
class JobEnd:
    """What one counter of ended attempts is about; every field has few values."""

    kind: str
    mode: str
    outcome: str
    """A final state, `HANDED_BACK` or `BROKE`."""


@dataclass(frozen=True, slots=True)
class Counts:
    """One reading."""

    polls: Counter[str]
    last_poll_at: float
    """Unix time of the last look that succeeded; 0 before the first."""
    running: int
    ended: Counter[JobEnd]


class Telemetry:
    """Safe from any thread."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._polls: Counter[str] = Counter(succeeded=0, failed=0)
        self._last_poll_at = 0.0
        self._running = 0
        self._ended: Counter[JobEnd] = Counter()

    def note_poll(self, now: float, *, is_good: bool) -> None:
        """A look at all projects has ended; `now` is Unix time."""
        with self._lock:
            self._polls["succeeded" if is_good else "failed"] += 1
            self._last_poll_at = now if is_good else self._last_poll_at

    def note_start(self) -> None:
        """An attempt has begun."""
        with self._lock:
            self._running += 1

    def note_end(self, job: Job, outcome: str) -> None:
        """An attempt has ended."""
        with self._lock:
            self._running -= 1
            self._ended[JobEnd(job.job_type.value, job.mode.value, outcome)] += 1

    def read(self) -> Counts:
        """How things are now."""
        with self._lock:
            return Counts(self._polls.copy(), self._last_poll_at, self._running, self._ended.copy())
