"""Whether a child's memory on its GPU keeps growing: read from outside, since a leak may hide from the child itself.

Pure but for the reading, which the caller injects. What the first readings show is no growth: an
allocator keeps what the longest item took.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runner.gpu import Binding, Gpu, inventory

GpuBytes = Callable[[str, int], int | None]
"""Device and process id to the memory held there; None where nobody tells."""

SETTLING_READINGS = 10
SLACK_BYTES = 64 << 20
"""A tenth of a small model is noise."""


def gpu_bytes_of(device: str, pid: int, binding: Binding | None = None) -> int | None:
    """Ask the driver; None on a CPU, and in a container that hides process ids."""
    if device == "cpu":
        return None
    found = (held_on(gpu, pid) for gpu in inventory(binding) if gpu.uuid == device)
    return next(found, None)


def held_on(gpu: Gpu, pid: int | None) -> int | None:
    """What the driver says that a process holds; None where it does not show it."""
    held = (process.used_bytes for process in gpu.processes if process.pid == pid)
    return next(held, None)


@dataclass(slots=True)
class GpuGrowth:
    """The readings of one child, between its items and not too often: each one asks the driver."""

    ratio: float
    interval_s: float
    settling: int = SETTLING_READINGS
    settled_bytes: int = 0
    now_bytes: int = 0
    _readings: int = 0
    _next_at: float = 0.0

    def look(self, read: Callable[[], int | None], now: float) -> None:
        """Take a reading if it is time for one."""
        if now < self._next_at:
            return
        self._next_at = now + self.interval_s
        used_bytes = read()
        if used_bytes is None:
            return
        self.now_bytes = used_bytes
        self._readings += 1
        if self._readings <= self.settling:
            self.settled_bytes = max(self.settled_bytes, used_bytes)

    @property
    def is_too_much(self) -> bool:
        """Whether the child should be replaced."""
        grown_bytes = self.now_bytes - self.settled_bytes
        return grown_bytes > max(SLACK_BYTES, self.settled_bytes * self.ratio)
