"""The one execution port: items in, futures out, whatever runs them.

    inline   this thread, this process                          InlineExecutor
    warm     children that keep the task set up                 Pool of WarmSlot
    fresh    a child per item                                   Pool of FreshSlot
    thread   threads of this process, around a program          Pool of ThreadSlot
    ray      actors on a cluster that keep the task set up       Pool of RaySlot

Callers know `Executor` and `TaskSpec`; they need not know which kind they were given.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from runner.frames import JsonObject
from runner.stats import PoolStatus


class Executor(Protocol):
    """Accepts items until it is closed. Safe from any thread."""

    def submit(
        self, item: JsonObject, *, timeout_s: float | None = None, audio_s: float = 0.0
    ) -> Future[JsonObject]:
        """Queue one item.

        Args:
            item: plain JSON; large data by file name.
            timeout_s: how long it may run, not counting its wait; None for the executor's default.
            audio_s: its length in seconds of audio, for the statistics.

        Returns:
            A future with the output, or with a `RunnerError`.

        Raises:
            QueueFull: too much is waiting.
            PoolClosed: no more items are taken.
            FrameError: the item is no JSON or too large.
        """

    def status(self) -> PoolStatus:
        """How things are at this moment."""

    def close(self, grace_s: float = 30.0) -> None:
        """Take nothing new, give running items their time, end the rest; queued ones are cancelled."""
