"""The pool: a bounded queue, and one thread per worker that keeps its slot alive and busy.

    submit ─► queue ─► worker thread ─► slot (warm or fresh child) ─► future
                ▲           │
                └── front ──┤ the process died: once more; twice: the item is poison
                            │
                            ├─ recycle due ─► unload, load
                            ├─ idle too long ─► unload, until there is work
                            ├─ start failed ─► back-off 1, 2, 4 … s; five times: disabled for a while
                            └─ retired by `resize` ─► finish the item, unload, leave

The states are those of `machines`; what a worker's process is, only its slot knows.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from runner.errors import NoWorker, PoolClosed, QueueFull, RunnerError, SlotDied, TaskTimeout
from runner.frames import JsonObject
from runner.machines import RequestState, WorkerState
from runner.request import Request
from runner.slot import Slot
from runner.stats import Meter, PoolStatus
from runner.wire import check_json
from runner.worker import Worker

MakeSlot = Callable[[str], Slot]
"""Device to a slot of its own."""


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How a pool behaves; times in seconds."""

    queue_limit: int | None = None
    """Items that may wait; None means ten per worker."""
    block_when_full: bool = False
    """`submit` waits for room instead of raising `QueueFull`."""
    item_timeout_s: float = 3600.0
    queue_timeout_s: float = 24 * 3600.0
    max_crashes: int = 2
    """An item that ended so many processes is given up."""
    keep_alive_s: float = -1.0
    """How long an idle worker keeps its process: 0 unloads at once, -1 never."""
    backoff_first_s: float = 1.0
    backoff_most_s: float = 60.0
    failures_to_disable: int = 5
    failures_within_s: float = 600.0
    probe_after_s: float = 600.0
    """When a disabled worker tries again."""


class Pool:
    """An executor of supervised workers."""

    def __init__(
        self, make_slot: MakeSlot, devices: Sequence[str], options: PoolOptions | None = None
    ) -> None:
        """Make a pool; `initialize` starts it.

        Args:
            make_slot: makes a worker's slot for its device.
            devices: one worker per entry.
            options: limits and patience.
        """
        self._make_slot = make_slot
        self._options = options or PoolOptions()
        self._numbers = itertools.count()
        self._queue: deque[Request] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._meter = Meter(time.monotonic())
        self._workers = [self._hire(device) for device in devices]

    @property
    def options(self) -> PoolOptions:
        """As given."""
        return self._options

    @property
    def meter(self) -> Meter:
        """What has been counted; hold `changed` while touching it."""
        return self._meter

    @property
    def changed(self) -> threading.Condition:
        """The pool's one lock, told about every change."""
        return self._changed

    @property
    def is_closed(self) -> bool:
        """Whether new items are refused."""
        return self._is_closed

    def initialize(self, timeout_s: float = 900.0) -> None:
        """Start all workers; return when the first can take work.

        Raises:
            PoolClosed: all of them failed to start, with their reasons, or the time is over.
        """
        for worker in self._workers:
            worker.start()
        threading.Thread(target=self._watch_queue, name="pool-queue", daemon=True).start()

        def is_settled() -> bool:
            return any(worker.is_ready for worker in self._workers) or all(
                worker.failures for worker in self._workers
            )

        with self._changed:
            self._changed.wait_for(is_settled, timeout_s)
            if any(worker.is_ready for worker in self._workers):
                return
            reasons = "; ".join(
                f"{w.name}: {w.last_error or 'still loading'}" for w in self._workers
            )
        self.close(0.0)
        raise NoWorker(f"no worker could be started: {reasons}")

    def submit(
        self, item: JsonObject, *, timeout_s: float | None = None, audio_s: float = 0.0
    ) -> Future[JsonObject]:
        """Queue one item; see `Executor.submit`."""
        check_json(item)
        options = self._options
        request = Request(item, options.item_timeout_s if timeout_s is None else timeout_s, audio_s)
        with self._changed:
            if options.block_when_full:
                self._changed.wait_for(lambda: self._is_closed or self._has_room)
            if self._is_closed:
                raise PoolClosed("the pool is closed")
            if not self._has_room:
                raise QueueFull(len(self._queue), max(1.0, self._meter.latency().mean_s))
            self._queue.append(request)
            self._changed.notify_all()
        return request.future

    def take_back(self, future: Future[JsonObject]) -> None:
        """End one item: one that waits is cancelled, one that runs loses its process, which is replaced.

        Args:
            future: what `submit` returned; it ends cancelled, or with `PoolClosed`.
        """
        if future.cancel():
            return
        with self._changed:
            for worker in self._workers:
                worker.drop(future)

    def resize(self, devices: Sequence[str]) -> None:
        """Have one worker per entry from now on; who has to go finishes its item, the idlest go first.

        Raises:
            ValueError: nobody would be left.
            PoolClosed: it is too late.
        """
        if not devices:
            raise ValueError("a pool keeps one worker at least; close it instead")
        with self._changed:
            if self._is_closed:
                raise PoolClosed("the pool is closed")
            missing = Counter(devices)
            for worker in sorted(self._staying, key=_value, reverse=True):
                missing[worker.device] -= 1
                worker.is_retired = missing[worker.device] < 0
            hired = [self._hire(device) for device in (+missing).elements()]
            self._workers += hired
            self._changed.notify_all()
        for worker in hired:
            worker.start()

    def status(self) -> PoolStatus:
        """How things are at this moment."""
        now = time.monotonic()
        with self._changed:
            workers = [worker.status(now) for worker in self._workers]
            busy_for_s = sum(worker.busy_for_s(now) for worker in self._workers)
            oldest_s = max((now - request.came_at for request in self._queue), default=0.0)
            return self._meter.status(workers, busy_for_s, len(self._queue), oldest_s)

    def close(self, grace_s: float = 30.0) -> None:
        """Stop intake, cancel what waits, let running items finish within `grace_s`, end the rest."""
        with self._changed:
            self._is_closed = True
            waiting = list(self._queue)
            self._queue.clear()
            self._changed.notify_all()
            workers = list(self._workers)
        for request in waiting:
            self._end(request, RequestState.CANCELLED, PoolClosed("the pool was closed"))
        deadline = time.monotonic() + grace_s
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join(None)

    # For workers.

    def take(self, worker: Worker, wait_s: float | None) -> Request | None:
        """The next item to work on; None when the worker has to go or the wait is over."""
        deadline = None if wait_s is None else time.monotonic() + wait_s
        while True:
            with self._changed:
                left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._changed.wait_for(lambda: worker.must_go or bool(self._queue), left_s)
                if worker.must_go or not self._queue:
                    return None
                request = worker.request = self._queue.popleft()
                self._changed.notify_all()
            if request.assign():
                return request
            self._count(request, RequestState.CANCELLED)

    def await_work(self, worker: Worker) -> bool:
        """Sleep until there is work; False when the worker has to go."""
        with self._changed:
            self._changed.wait_for(lambda: worker.must_go or bool(self._queue))
            return not worker.must_go

    def pause(self, worker: Worker, wait_s: float) -> None:
        """Sleep, but not when the worker has to go."""
        with self._changed:
            self._changed.wait_for(lambda: worker.must_go, wait_s)

    def dismiss(self, worker: Worker) -> None:
        """Forget a worker that was retired and has ended."""
        with self._changed:
            self._workers.remove(worker)
            self._changed.notify_all()

    def settle(self, request: Request, work: Callable[[], JsonObject]) -> RunnerError | None:
        """Do the work for a request and decide what becomes of it; returns what went wrong."""
        request.begin()
        try:
            output = work()
        except SlotDied as error:
            self._handle_crash(request, error)
            return error
        except TaskTimeout as error:
            self._end(request, RequestState.TIMED_OUT, error)
            return error
        except RunnerError as error:
            self._end(request, RequestState.FAILED, error)
            return error
        self._end(request, RequestState.SUCCEEDED, output)
        return None

    def give_up(self) -> None:
        """All workers are disabled: nobody will ever take what waits."""
        with self._changed:
            if any(not worker.is_disabled for worker in self._staying):
                return
            waiting = list(self._queue)
            self._queue.clear()
            reasons = "; ".join(sorted({worker.last_error for worker in self._workers}))
        for request in waiting:
            self._end(request, RequestState.FAILED, NoWorker(f"no worker can start: {reasons}"))

    def _hire(self, device: str) -> Worker:
        return Worker(f"worker-{next(self._numbers)}", device, self._make_slot(device), self)

    @property
    def _staying(self) -> list[Worker]:
        return [worker for worker in self._workers if not worker.is_retired]

    @property
    def _has_room(self) -> bool:
        return len(self._queue) < (self._options.queue_limit or 10 * len(self._staying))

    def _watch_queue(self) -> None:
        """Give up items that waited too long, even while every worker is busy."""
        while not self._is_closed:
            now, limit_s = time.monotonic(), self._options.queue_timeout_s
            with self._changed:
                late = [request for request in self._queue if now - request.came_at >= limit_s]
                for request in late:
                    self._queue.remove(request)
                oldest = min((request.came_at for request in self._queue), default=now)
            for request in late:
                error = TaskTimeout(limit_s, "the wait for a worker")
                self._end(request, RequestState.TIMED_OUT, error)
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, oldest + limit_s - now)

    def _handle_crash(self, request: Request, error: SlotDied) -> None:
        request.crashes += 1
        with self._changed:
            is_closed = self._is_closed
            is_over = is_closed or request.is_unwanted
            if request.crashes < self._options.max_crashes and not is_over:
                request.requeue()
                self._queue.appendleft(request)
                self._changed.notify_all()
                return
        if is_over:
            words = "the pool was closed" if is_closed else "the item was taken back"
            self._end(request, RequestState.CANCELLED, PoolClosed(words))
        else:
            self._end(request, RequestState.FAILED, error)

    def _end(
        self, request: Request, state: RequestState, outcome: JsonObject | RunnerError
    ) -> None:
        if request.end(state, outcome):
            self._count(request, state)
        else:
            self._count(request, RequestState.CANCELLED)

    def _count(self, request: Request, state: RequestState) -> None:
        now = time.monotonic()
        with self._changed:
            self._meter.finish(
                state, now, request.waited_s(now), request.ran_s(now), request.audio_s
            )


def _value(worker: Worker) -> tuple[bool, float]:
    """Who should stay: workers at work, then those that were used lately."""
    return worker.state is WorkerState.PROCESSING, worker.used_at
