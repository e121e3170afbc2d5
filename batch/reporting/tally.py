"""Counts a run as it goes: files, hours of sound an hour, what is left, failures by code, the slowest. Pure.

`now` is a parameter wherever time matters.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from typing import Any

from batch.flow import Outcome, Warned

SLOWEST_SHOWN = 5


class Tally:
    """The figures of one run."""

    def __init__(self, total: int, now: float) -> None:
        self.total = total
        self.begun_at = now
        self.complete = 0
        self.failures: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        """By "step: code"."""
        self.audio_s = 0.0
        self.flagged = 0
        self._slowest: list[tuple[float, str]] = []

    @property
    def failed(self) -> int:
        """Files that failed in this run."""
        return sum(self.failures.values())

    @property
    def done(self) -> int:
        """Files that are settled, one way or the other."""
        return self.complete + self.failed

    def count(self, outcome: Outcome) -> None:
        """Take one file's end into account."""
        if outcome.code is not None:
            self.failures[outcome.code] += 1
            return
        self.complete += 1
        self.audio_s += outcome.audio_s
        self.flagged += bool(outcome.flags)
        self.warn(outcome.warnings)
        heapq.heappush(self._slowest, (outcome.elapsed_s, outcome.asset.name))
        if len(self._slowest) > SLOWEST_SHOWN:
            heapq.heappop(self._slowest)

    def warn(self, warnings: Iterable[Warned]) -> None:
        """Take into account what was not done for a file that is there all the same."""
        self.warnings.update(f"{warned.step}: {warned.code}" for warned in warnings)

    def speed(self, now: float) -> float:
        """Hours of sound an hour."""
        return self.audio_s / max(now - self.begun_at, 1e-9)

    def left_s(self, now: float) -> float | None:
        """Seconds until the end, if it goes on like this; None before the first file."""
        if not self.done:
            return None
        return (now - self.begun_at) / self.done * (self.total - self.done)

    def report(self, now: float) -> dict[str, Any]:
        """The end report as plain data."""
        elapsed_s = now - self.begun_at
        return {
            "total": self.total,
            "complete": self.complete,
            "failed": self.failed,
            "flagged": self.flagged,
            "failures": dict(self.failures.most_common()),
            "warnings": dict(self.warnings.most_common()),
            "audio_s": round(self.audio_s, 3),
            "elapsed_s": round(elapsed_s, 3),
            "audio_hours_per_hour": round(self.speed(now), 2),
            "real_time_factor": round(elapsed_s / self.audio_s, 4) if self.audio_s else None,
            "slowest": [
                {"name": name, "elapsed_s": elapsed}
                for elapsed, name in sorted(self._slowest)[::-1]
            ],
        }
