"""How much memory a tree of processes holds, and the watch that ends one which holds too much.

With a control group the kernel enforces the limit, and the watch only looks whether it had to: version 1 takes a
single process and lets the rest of the tree go on without it. Without one a sample adds up what each process has
resident; pages that several share count several times, so a sum beyond the limit is looked at again by
proportional shares before anybody is ended. Between two samples a tree may grow beyond the limit: it is a soft one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import psutil

from runner.group import Group
from runner.verdict import Verdict

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
        self._group: Group | None = None

    @property
    def next_at(self) -> float:
        """When the next sample is due."""
        return self._next_at if self._limit_bytes is not None else float("inf")

    def rely_on(self, group: Group) -> None:
        """Take no more samples: the kernel counts, and better."""
        self._group = group

    def look(self, root_pid: int, now: float) -> tuple[Verdict, str] | None:
        """Look if it is time; a sentence with numbers once the tree is over its limit."""
        limit_bytes = self._limit_bytes
        if limit_bytes is None or now < self._next_at:
            return None
        self._next_at = now + self._interval_s
        if self._group is not None:
            return _kill_in(self._group, limit_bytes)
        sample = measure_tree(root_pid)
        if sample.bytes > limit_bytes:
            sample = measure_tree(root_pid, is_shared_once=True)
        if sample.bytes <= limit_bytes:
            return None
        return Verdict.OOM_HOST, (
            f"{sample.processes} processes used {sample.bytes / _MIB:.0f} MiB,"
            f" limit {limit_bytes / _MIB:.0f} MiB (memory_bytes)"
        )


def _kill_in(group: Group, limit_bytes: int) -> tuple[Verdict, str] | None:
    counts = group.counts()
    if counts is None or not counts.kills:
        return None
    limit = f"limit {limit_bytes / _MIB:.0f} MiB (memory_bytes)"
    return Verdict.OOM_CGROUP, f"the kernel killed {counts.kills} of its processes: {limit}"
