"""Looks at processes from the outside, for `benchmarks.runner` and tests: memory, descriptors, threads, files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_S = 0.01


@dataclass
class Peak:
    """The most memory that a process and all below it shared out among them (PSS)."""

    bytes: int = 0


def tree_pss_bytes() -> int:
    """Sum the proportional memory of the calling process and everything below it."""
    total = 0
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):  # ended meanwhile
            total += process.memory_full_info().pss
    return total


@contextmanager
def peak_above_now() -> Iterator[Peak]:
    """Sample while the block runs; what was there before is subtracted."""
    peak, is_over, before = Peak(), threading.Event(), tree_pss_bytes()

    def sample() -> None:
        while not is_over.wait(SAMPLE_S):
            peak.bytes = max(peak.bytes, tree_pss_bytes() - before)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        is_over.set()
        sampler.join()


@dataclass(frozen=True)
class Holdings:
    """What a process could leak."""

    rss_bytes: int
    descriptors: int
    threads: int
    files: int

    @classmethod
    def now(cls, folder: Path) -> Holdings:
        """Count what this process holds, and the files below a folder."""
        me = psutil.Process()
        files = sum(1 for path in folder.rglob("*") if path.is_file())
        return cls(me.memory_info().rss, me.num_fds(), me.num_threads(), files)


def processor_s(*processes: psutil.Process) -> float:
    """Processor time that processes have used so far; waiting for others does not count."""
    times = [process.cpu_times() for process in processes]
    return sum(used.user + used.system for used in times)
