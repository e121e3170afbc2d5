"""The thread slot: a task that only waits for an external program needs no child of its own.

    pool thread ── item ──► Task.run, in this process ──► external program under its leash
         └─ time is over, or the pool closes ─► Task.stop() from a watching thread ─► run raises

A crash of the task's own code is a crash of the caller, so only tasks whose work happens in another program
belong here. A task without `stop` runs too, but cannot be ended before it ends by itself. No GPU is promised to
a thread: a program that needs one runs in a warm child.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, cast

from runner.boundary import Raised, boundary
from runner.errors import RunnerError, SlotDied, TaskTimeout
from runner.frames import JsonObject
from runner.peak import Peak
from runner.slot import failure_from, load_failure
from runner.task import Task, TaskSpec, extend_import_path, load_task
from runner.verdict import Verdict
from runner.wire import check_json

_STOP_AGAIN_S = 0.1
"""A stop that came before the program was started has ended nothing."""


class StoppableTask(Protocol):
    """What a task offers on top of `Task` so that a thread can be made to end it."""

    def stop(self) -> None:
        """End the program of the running item, from another thread; `run` then raises."""


class ThreadSlot:
    """Runs items one at a time in the thread that calls."""

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self._task: Task | None = None
        self._watch: _Watch | None = None
        self._is_killed = False

    def load(self, on_spawned: Callable[[], None]) -> None:
        """Set the task up in this process."""
        on_spawned()
        try:
            with boundary("load"):
                extend_import_path(self._spec.import_paths)
                task = load_task(self._spec.name, self._spec.options)
                task.setup("cpu")
        except Raised as raised:
            raise load_failure(raised.fields) from raised.error
        self._task = task

    def run(self, item: JsonObject, timeout_s: float) -> JsonObject:
        """Run the item, and have it stopped when its time is over."""
        if self._task is None:
            raise SlotDied(Verdict.INTERNAL, "the slot is not loaded")
        self._watch = watch = _Watch(self._task, timeout_s)
        if self._is_killed:
            watch.end(_killed())
        try:
            with boundary("run"):
                output = self._task.run(item)
                check_json(output)
        except Raised as raised:
            watch.close()
            raise watch.cause or failure_from(raised.fields) from raised.error
        finally:
            watch.close()
            self._watch = None
        return output

    def recycle_reason(self) -> str | None:
        """The program is a new one every time."""
        return None

    def unload(self) -> None:
        """Forget the task."""
        self._task = None

    def drop(self) -> None:
        """Stop the running item."""
        watch = self._watch
        if watch is not None:
            watch.end(_killed())

    def kill(self) -> None:
        """Stop the running item, and any that would follow."""
        self._is_killed = True
        self.drop()

    @property
    def pid(self) -> int | None:
        """None: it is this process."""
        return None

    @property
    def rss_bytes(self) -> int:
        """Unknown: the memory is the program's."""
        return 0

    @property
    def peak(self) -> Peak:
        """Unknown, too."""
        return Peak()


class _Watch:
    """Stops one item when its time is over or somebody says so; its thread ends with the item."""

    def __init__(self, task: Task, timeout_s: float) -> None:
        self.cause: RunnerError | None = None
        self._timeout_s = timeout_s
        self._stop = cast(StoppableTask, task).stop if hasattr(task, "stop") else None
        self._wake = threading.Event()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="item-watch", daemon=True)
        if self._stop is not None:
            self._thread.start()

    def end(self, cause: RunnerError) -> None:
        """Stop the item for a reason; the first one stays."""
        self.cause = self.cause or cause
        self._wake.set()

    def close(self) -> None:
        """The item is over; the task is not stopped any more once this returns."""
        self._is_over.set()
        self._wake.set()
        if self._stop is not None:
            self._thread.join()

    def _run(self) -> None:
        self._wake.wait(min(self._timeout_s, threading.TIMEOUT_MAX))
        if self._is_over.is_set() or self._stop is None:
            return
        self.cause = self.cause or TaskTimeout(self._timeout_s)
        while not self._is_over.is_set():
            self._stop()
            self._is_over.wait(_STOP_AGAIN_S)


def _killed() -> SlotDied:
    return SlotDied(Verdict.CANCELED, "closed")
