"""The inline executor: this thread, this process. For tests, debugging and tasks that are cheap.

A timeout cannot be enforced here, and a crash of the task is a crash of the caller.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

from runner.boundary import Raised, boundary
from runner.errors import PoolClosed, RunnerError
from runner.frames import JsonObject
from runner.slot import failure_from
from runner.stats import Meter, PoolStatus, WorkerStatus
from runner.task import Task, TaskSpec, extend_import_path, load_task
from runner.wire import check_json


class InlineExecutor:
    """Runs each item before `submit` returns; the task is set up with the first one."""

    def __init__(self, task: TaskSpec, device: str = "cpu") -> None:
        self._spec = task
        self._device = device
        self._task: Task | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        self._meter = Meter(time.monotonic())

    def submit(
        self, item: JsonObject, *, timeout_s: float | None = None, audio_s: float = 0.0
    ) -> Future[JsonObject]:
        """Run one item; `timeout_s` is accepted and cannot be enforced."""
        del timeout_s
        check_json(item)
        future: Future[JsonObject] = Future()
        with self._lock:
            if self._is_closed:
                raise PoolClosed("the executor is closed")
            begun = time.monotonic()
            outcome: JsonObject | RunnerError = self._run(item)
            now = time.monotonic()
            is_failure = isinstance(outcome, RunnerError)
            self._meter.finish(
                "failed" if is_failure else "succeeded", now, 0.0, now - begun, audio_s
            )
        if isinstance(outcome, RunnerError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        return future

    def status(self) -> PoolStatus:
        """One worker, idle whenever somebody asks."""
        meter, now = self._meter, time.monotonic()
        errors = meter.outcomes["failed"]
        worker = WorkerStatus(
            name="inline",
            state="idle",
            public_state="idle",
            device=self._device,
            pid=None,
            rss_bytes=0,
            requests=sum(meter.outcomes.values()),
            errors=errors,
            loads=meter.loads,
            uptime_s=now - meter.begun_at,
            last_error="",
        )
        return meter.status([worker], 0.0, 0, 0.0)

    def close(self, grace_s: float = 30.0) -> None:
        """Take nothing new; an item that runs is finished first."""
        del grace_s
        with self._lock:
            self._is_closed = True
            self._task = None

    def _run(self, item: JsonObject) -> JsonObject | RunnerError:
        try:
            with boundary("run"):
                output = self._loaded().run(item)
                check_json(output)
        except Raised as raised:
            return failure_from(raised.fields)
        return output

    def _loaded(self) -> Task:
        if self._task is None:
            begun = time.monotonic()
            extend_import_path(self._spec.import_paths)
            task = load_task(self._spec.name, self._spec.options)
            task.setup("cpu" if self._device == "cpu" else "cuda")
            self._task = task
            self._meter.load_times.observe(time.monotonic() - begun)
        return self._task
