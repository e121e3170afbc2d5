"""Keeps so many packs under way until there are no more or somebody wants a stop. Knows not what is done with them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

from batch.recordings.packing import Pack

POLL_S = 0.2
"""How often a waiting loop looks at whether it should stop."""
_T = TypeVar("_T")


def side_by_side(
    packs: Iterable[Pack],
    start: Callable[[Pack], Future[_T]],
    at_once: int,
    is_stopping: Callable[[], bool],
) -> Iterator[set[Future[_T]]]:
    """Yield those that have ended, and an empty set where none has for a while.

    Args:
        packs: in the order of their start.
        start: called in this thread.
        at_once: packs under way.
        is_stopping: asked before each wait; while true nothing more starts, what is under way is awaited.
    """
    source = iter(packs)
    running: set[Future[_T]] = set()
    while True:
        free = 0 if is_stopping() else at_once - len(running)
        running.update(map(start, itertools.islice(source, free)))
        if not running:
            return
        done, running = wait(running, POLL_S, FIRST_COMPLETED)
        yield done
