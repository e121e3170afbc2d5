"""The daemon's slots told as a pool called "jobs": how busy they are, what waits, how long, and what was replaced.

Counts and times only, in the words of `runner.stats`. Knows no job. Safe from any thread: the loop and the attempts
write, whoever shows metrics reads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from gitlab_jobs.job import JobState
from runner.machines import RequestState
from runner.stats import Meter, PoolStatus, WorkerStatus

_OUTCOMES = {
    JobState.COMPLETED: RequestState.SUCCEEDED,
    JobState.FAILED: RequestState.FAILED,
    JobState.CANCELED: RequestState.CANCELLED,
}


class Workload:
    """One daemon's."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._meter = Meter(time.monotonic())
        self._waiting = 0
        self._oldest: datetime | None = None

    def note_waiting(self, submitted: Sequence[datetime | None]) -> None:
        """So many jobs that could run here were left waiting, as of the last look."""
        with self._lock:
            self._waiting = len(submitted)
            self._oldest = min((when for when in submitted if when is not None), default=None)

    def note_load(self, took_s: float) -> None:
        """A process has been started."""
        with self._lock:
            self._meter.load_times.observe(took_s)

    def note_replacement(self, reason: str) -> None:
        """A process that might have stayed has not, or a job ended with it."""
        with self._lock:
            self._meter.replacements[reason] += 1

    def note_end(self, outcome: str, wait_s: float, run_s: float) -> None:
        """An attempt has ended; one without a final state was given up for others."""
        ended = next((end for state, end in _OUTCOMES.items() if state == outcome), None)
        with self._lock:
            end = ended or RequestState.CANCELLED
            self._meter.finish(end, time.monotonic(), wait_s, run_s, 0.0)

    def status(self, workers: Sequence[WorkerStatus], busy_for_s: float) -> PoolStatus:
        """How things are, with these slots; `busy_for_s` is how long their attempts run already."""
        with self._lock:
            oldest_s = waited_s(self._oldest)
            return self._meter.status(workers, busy_for_s, self._waiting, oldest_s)


def waited_s(since: datetime | None) -> float:
    """Seconds since a job was submitted; 0 where nobody has said when."""
    return max(0.0, (datetime.now(UTC) - since).total_seconds()) if since is not None else 0.0
