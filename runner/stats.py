"""What a pool tells about itself: plain values, and the meter that computes them.

`PoolStatus` is the design's `getStatus`. Knows no process and no metric system.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from runner.histogram import Buckets, Histogram
from runner.machines import RequestState, WorkerState
from runner.peak import Peak

WINDOW_S = 60.0
_KEPT = 4096
"""Latencies remembered for the percentiles."""


@dataclass(frozen=True, slots=True)
class Times:
    """A distribution of durations, in seconds."""

    count: int
    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker; `state` is the machine's, `public_state` the design's name for it or ""."""

    name: str
    state: str
    public_state: str
    device: str
    pid: int | None
    rss_bytes: int
    requests: int
    errors: int
    loads: int
    uptime_s: float
    last_error: str
    peak: Peak = field(default_factory=Peak)


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """The whole pool at one moment."""

    total: int
    idle: int
    processing: int
    failed: int
    utilisation: float
    """Busy time of all workers over the last minute, 0 to 1."""
    queue_depth: int
    oldest_wait_s: float
    succeeded: int
    failures: int
    timed_out: int
    cancelled: int
    throughput_per_s: float
    """Finished items over the last minute."""
    audio_s_per_s: float
    latency: Times
    wait: Times
    loads: int
    replacements: dict[str, int]
    workers: tuple[WorkerStatus, ...]
    audio_s: float
    """Seconds of audio worked on since the beginning."""
    durations: Buckets
    """From the queue to the end, since the beginning."""
    waits: Buckets
    load_times: Buckets

    @property
    def is_degraded(self) -> bool:
        """Fewer workers than asked for can take work; one that was unloaded for want of it can."""
        unloaded = sum(worker.state == "terminated" for worker in self.workers)
        return self.idle + self.processing + unloaded < self.total


@dataclass(slots=True)
class _Finished:
    at: float
    wait_s: float
    run_s: float
    audio_s: float


@dataclass(slots=True)
class Meter:
    """Adds up what happens in a pool; guarded by the pool's lock."""

    begun_at: float
    outcomes: Counter[str] = field(default_factory=Counter)
    replacements: Counter[str] = field(default_factory=Counter)
    audio_s: float = 0.0
    durations: Histogram = field(default_factory=Histogram)
    waits: Histogram = field(default_factory=Histogram)
    load_times: Histogram = field(default_factory=Histogram)
    _finished: deque[_Finished] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def finish(self, outcome: str, now: float, wait_s: float, run_s: float, audio_s: float) -> None:
        """Note an item's end; `now` is when it ended."""
        self.outcomes[outcome] += 1
        self.audio_s += audio_s
        self.waits.observe(wait_s)
        self.durations.observe(wait_s + run_s)
        self._finished.append(_Finished(now, wait_s, run_s, audio_s))

    @property
    def loads(self) -> int:
        """How often a task was set up."""
        return self.load_times.read().count

    def busy_s(self, now: float) -> float:
        """Work done within the window, all workers together."""
        begin = now - WINDOW_S
        return sum(item.at - max(begin, item.at - item.run_s) for item in self._recent(now))

    def window_s(self, now: float) -> float:
        """How much of the window the pool has lived through."""
        begun_at = self._finished[0].at if len(self._finished) == _KEPT else self.begun_at
        return max(1e-9, min(WINDOW_S, now - begun_at))

    def status(
        self,
        workers: Sequence[WorkerStatus],
        busy_for_s: float,
        queue_depth: int,
        oldest_wait_s: float,
    ) -> PoolStatus:
        """All of it at one moment.

        Args:
            workers: how they are.
            busy_for_s: how long those at work have worked on what they have, added up.
            queue_depth: what waits.
            oldest_wait_s: since when.
        """
        now = time.monotonic()
        busy_s = self.busy_s(now) + busy_for_s
        throughput, audio = self.rates(now)
        states = [worker.state for worker in workers]
        return PoolStatus(
            total=len(workers),
            idle=states.count(WorkerState.IDLE),
            processing=states.count(WorkerState.PROCESSING),
            failed=states.count(WorkerState.FAILED),
            utilisation=min(1.0, busy_s / self.window_s(now) / len(workers)),
            queue_depth=queue_depth,
            oldest_wait_s=oldest_wait_s,
            succeeded=self.outcomes[RequestState.SUCCEEDED],
            failures=self.outcomes[RequestState.FAILED],
            timed_out=self.outcomes[RequestState.TIMED_OUT],
            cancelled=self.outcomes[RequestState.CANCELLED],
            throughput_per_s=throughput,
            audio_s_per_s=audio,
            latency=self.latency(),
            wait=self.wait(),
            loads=self.loads,
            replacements=dict(self.replacements),
            workers=tuple(workers),
            audio_s=self.audio_s,
            durations=self.durations.read(),
            waits=self.waits.read(),
            load_times=self.load_times.read(),
        )

    def rates(self, now: float) -> tuple[float, float]:
        """Items and seconds of audio per second over the window."""
        recent = self._recent(now)
        window = self.window_s(now)
        return len(recent) / window, sum(item.audio_s for item in recent) / window

    def latency(self) -> Times:
        """From the queue to the end."""
        return _times([item.wait_s + item.run_s for item in self._finished])

    def wait(self) -> Times:
        """In the queue."""
        return _times([item.wait_s for item in self._finished])

    def _recent(self, now: float) -> list[_Finished]:
        return [item for item in self._finished if item.at >= now - WINDOW_S]


def _times(durations: list[float]) -> Times:
    if not durations:
        return Times(0, 0.0, 0.0, 0.0, 0.0)
    ordered = sorted(durations)
    mean = sum(ordered) / len(ordered)
    return Times(len(ordered), mean, *(_percentile(ordered, part) for part in (0.5, 0.95, 0.99)))


def _percentile(ordered: list[float], part: float) -> float:
    """Nearest rank: always a value that was really seen."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
