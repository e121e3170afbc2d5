"""One job's view of executors that all jobs share: its stages are noted, told its wishes, and can be ended.

Knows no job: a watch is made for one, and thrown away with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from runner.errors import PoolClosed
from runner.executor import Executor
from runner.frames import JsonObject
from runner.pool import Pool
from runner.stats import PoolStatus


class Watch:
    """What can be seen and ended of a job."""

    def __init__(self, on_stage: Callable[[str], None]) -> None:
        self.on_stage = on_stage
        self._is_canceled = False
        self._end: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def follow(
        self, executor: Executor, submit: Callable[[], Future[JsonObject]]
    ) -> Future[JsonObject]:
        """Begin a stage, unless the job was canceled."""
        with self._lock:
            if self._is_canceled:
                raise PoolClosed("the job was canceled")
            future = submit()
            if isinstance(executor, Pool):
                self._end = lambda: executor.take_back(future)
            else:
                self._end = future.cancel
            return future

    def cancel(self) -> None:
        """Begin no further stage, and end the one that waits or runs."""
        with self._lock:
            self._is_canceled = True
            if self._end is not None:
                self._end()


class Watched:
    """An executor for one job."""

    def __init__(self, name: str, executor: Executor, watch: Watch, wishes: JsonObject) -> None:
        """Wrap a shared one.

        Args:
            name: of the stage.
            executor: does the work.
            watch: sees it.
            wishes: go along with every item.
        """
        self._name = name
        self._executor = executor
        self._watch = watch
        self._wishes = wishes

    def submit(
        self, item: JsonObject, *, timeout_s: float | None = None, audio_s: float = 0.0
    ) -> Future[JsonObject]:
        """Queue a stage of the job."""
        self._watch.on_stage(self._name)
        told = {**item, "wishes": self._wishes}
        return self._watch.follow(
            self._executor,
            lambda: self._executor.submit(told, timeout_s=timeout_s, audio_s=audio_s),
        )

    def status(self) -> PoolStatus:
        """That of the shared executor."""
        return self._executor.status()

    def close(self, grace_s: float = 30.0) -> None:
        """The executor is not this job's to close."""
