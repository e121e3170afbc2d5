"""One worker of a pool: the thread that loads its slot, feeds it, replaces it and gives it up.

Walks the worker machine of `machines`; knows the pool only as a source of requests.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

from runner.errors import SlotDied, TaskTimeout
from runner.frames import JsonObject
from runner.machines import PUBLIC_NAMES, WorkerState, worker_machine
from runner.request import Request
from runner.slot import Slot
from runner.stats import WorkerStatus

if TYPE_CHECKING:
    from runner.pool import Pool

logger = logging.getLogger(__name__)


class Worker:
    """Keeps one slot busy until the pool closes."""

    def __init__(self, name: str, device: str, slot: Slot, pool: Pool) -> None:
        self.name = name
        self.last_error = ""
        self.failures: deque[float] = deque()
        """When it failed to start, recently."""
        self.is_disabled = False
        self.is_retired = False
        """The pool has become smaller: finish and go."""
        self.request: Request | None = None
        """What it was given; the pool sets it under its lock."""
        self.used_at = 0.0
        """When its last item ended."""
        self.device = device
        self._slot = slot
        self._pool = pool
        self._machine = worker_machine()
        self._begun_at = time.monotonic()
        self._busy_since: float | None = None
        self._requests = 0
        self._errors = 0
        self._loads = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def state(self) -> WorkerState:
        """Where it stands."""
        return self._machine.state

    @property
    def is_ready(self) -> bool:
        """Whether it was able to take work at least once."""
        return self._loads > 0

    @property
    def must_go(self) -> bool:
        """Whether it takes nothing new."""
        return self.is_retired or self._pool.is_closed

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def join(self, timeout_s: float | None) -> None:
        """Wait for its end; returns at once if it never began."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def kill(self) -> None:
        """End its process; the thread sees that and ends too."""
        self._slot.kill()

    def drop(self, future: Future[JsonObject]) -> None:
        """End the item that it was given, if it is this one; the pool's lock keeps it from taking another."""
        request = self.request
        if request is not None and request.future is future and not future.done():
            request.is_unwanted = True
            self._slot.drop()

    def busy_for_s(self, now: float) -> float:
        """How long it has worked on its current item."""
        return now - self._busy_since if self._busy_since is not None else 0.0

    def status(self, now: float) -> WorkerStatus:
        """How it is at this moment."""
        return WorkerStatus(
            name=self.name,
            state=self.state,
            public_state=PUBLIC_NAMES.get(self.state, ""),
            device=self.device,
            pid=self._slot.pid,
            rss_bytes=self._slot.rss_bytes,
            requests=self._requests,
            errors=self._errors,
            loads=self._loads,
            uptime_s=now - self._begun_at,
            last_error=self.last_error,
            peak=self._slot.peak,
        )

    def _run(self) -> None:
        while not self.must_go:
            if not self._load():
                self._back_off()
            elif self._work() and not self._pool.await_work(self):
                break
            self._return_to_start()
        self._stop()
        if self.is_retired:
            self._pool.dismiss(self)

    def _load(self) -> bool:
        begun = time.monotonic()
        try:
            self._slot.load(lambda: self._go(WorkerState.LOADING))
        except SlotDied as error:
            self._fail(error)
            now = time.monotonic()
            self.failures.append(now)
            while self.failures[0] < now - self._pool.options.failures_within_s:
                self.failures.popleft()
            return False
        self._loads += 1
        with self._pool.changed:
            self._pool.meter.load_times.observe(time.monotonic() - begun)
        self.is_disabled = False
        self.failures.clear()
        self._go(WorkerState.IDLE)
        return True

    def _work(self) -> bool:
        """Take items until the process must go; True when it went for want of work."""
        keep_alive_s = self._pool.options.keep_alive_s
        while True:
            request = self._pool.take(self, keep_alive_s if keep_alive_s >= 0 else None)
            if request is None:
                self._unload()
                return True
            if not self._process(request):
                return False
            reason = self._slot.recycle_reason()
            if reason is not None:
                self._count_replacement(reason)
                self._go(WorkerState.RECYCLING)
                self._slot.unload()
                return False

    def _process(self, request: Request) -> bool:
        """Run one item; False when the process is gone."""
        self._busy_since = time.monotonic()
        self._requests += 1
        self._go(WorkerState.PROCESSING)
        error = self._pool.settle(request, lambda: self._slot.run(request.item, request.timeout_s))
        self._busy_since = None
        self.request = None
        self.used_at = time.monotonic()
        if error is not None:
            self._errors += 1
            self.last_error = str(error)
        if isinstance(error, (SlotDied, TaskTimeout)):
            self._count_replacement(error.code)
            # No back-off: the item is the suspect, not the worker.
            self._fail(error)
            return False
        self._go(WorkerState.IDLE)
        return True

    def _fail(self, error: SlotDied | TaskTimeout) -> None:
        logger.warning("%s failed: %s", self.name, error)
        self.last_error = str(error)
        self._go(WorkerState.FAILED)

    def _back_off(self) -> None:
        options = self._pool.options
        if len(self.failures) >= options.failures_to_disable:
            logger.error("%s is disabled: %s", self.name, self.last_error)
            self.is_disabled = True
            self._pool.give_up()
            self._pool.pause(self, options.probe_after_s)
            return
        most_s = min(options.backoff_most_s, options.backoff_first_s * 2 ** len(self.failures) / 2)
        self._pool.pause(self, random.uniform(0, most_s))

    def _return_to_start(self) -> None:
        if not self.must_go:
            self._go(WorkerState.SPAWNING)

    def _unload(self) -> None:
        self._go(WorkerState.STOPPING)
        self._slot.unload()
        self._go(WorkerState.TERMINATED)

    def _stop(self) -> None:
        if self.state is not WorkerState.TERMINATED:
            self._unload()

    def _count_replacement(self, reason: str) -> None:
        with self._pool.changed:
            self._pool.meter.replacements[reason] += 1

    def _go(self, state: WorkerState) -> None:
        with self._pool.changed:
            self._machine.to(state)
            self._pool.changed.notify_all()
