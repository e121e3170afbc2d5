"""Memory as somebody outside sees it: summed over a process and everything below it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil


@dataclass
class Peak:
    """The most that was seen."""

    bytes: int = 0


def _tree_pss_bytes() -> int:
    total = 0
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):  # ended meanwhile
            total += process.memory_full_info().pss
    return total


@contextmanager
def peak_above_now() -> Iterator[Peak]:
    """Sample this process and its descendants while the block runs."""
    peak, is_over, before = Peak(), threading.Event(), _tree_pss_bytes()

    def sample() -> None:
        while not is_over.wait(0.01):
            peak.bytes = max(peak.bytes, _tree_pss_bytes() - before)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        is_over.set()
        sampler.join()
