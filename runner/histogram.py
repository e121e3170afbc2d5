"""Counts durations into buckets for as long as a process lives, so that two readings can be subtracted.

Knows no metric system; `runner.metrics` translates.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

BOUNDS_S = (0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
"""From an empty item to a long recording on a slow device."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """A reading: how many durations were at most each bound, and all of them."""

    at_most: tuple[int, ...]
    count: int
    sum_s: float


@dataclass(slots=True)
class Histogram:
    """Adds durations up; guarded by whoever owns it."""

    sum_s: float = 0.0
    _counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))

    def observe(self, duration_s: float) -> None:
        """Count one."""
        self._counts[bisect.bisect_left(BOUNDS_S, duration_s)] += 1
        self.sum_s += duration_s

    def read(self) -> Buckets:
        """What has been counted so far."""
        at_most, total = [], 0
        for count in self._counts:
            total += count
            at_most.append(total)
        return Buckets(tuple(at_most[:-1]), total, self.sum_s)
