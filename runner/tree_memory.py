"""How much memory a tree of processes holds, and the watch that judges it where no control group can.

A sample adds up what each process has resident; pages that several share count several times, so a sum
beyond the limit is looked at again by proportional shares before anybody is ended. Between two samples a tree may
grow beyond the limit: it is a soft one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import psutil

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class TreeMemory:
    """One sample."""

    bytes: int
    processes: int


def measure_tree(root_pid: int, *, is_shared_once: bool = False) -> TreeMemory:
    """Add up a process and all below it; `is_shared_once` is exact and slower."""
    try:
        root = psutil.Process(root_pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return TreeMemory(0, 0)
    sizes = []
    for process in tree:
        with suppress(psutil.Error):  # ended meanwhile
            sizes.append(_shared_bytes(process) if is_shared_once else process.memory_info().rss)
    return TreeMemory(sum(sizes), len(sizes))


def _shared_bytes(process: psutil.Process) -> int:
    info = process.memory_full_info()
    return int(getattr(info, "pss", info.rss))


class MemoryWatch:
    """Takes a sample when one is due and says what is wrong with it. Pure but for the sampling."""

    def __init__(self, limit_bytes: int | None, interval_s: float, now: float) -> None:
        self._limit_bytes = limit_bytes
        self._interval_s = interval_s
        self._next_at = now + interval_s

    @property
    def next_at(self) -> float:
        """When the next sample is due."""
        return self._next_at if self._limit_bytes is not None else float("inf")

    def look(self, root_pid: int, now: float) -> str | None:
        """Sample if it is time; a sentence with numbers once the tree is over its limit."""
        limit_bytes = self._limit_bytes
        if limit_bytes is None or now < self._next_at:
            return None
        self._next_at = now + self._interval_s
        sample = measure_tree(root_pid)
        if sample.bytes > limit_bytes:
            sample = measure_tree(root_pid, is_shared_once=True)
        if sample.bytes <= limit_bytes:
            return None
        return (
            f"{sample.processes} processes used {sample.bytes / _MIB:.0f} MiB,"
            f" limit {limit_bytes / _MIB:.0f} MiB (memory_bytes)"
        )
