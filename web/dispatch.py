"""Gives queued jobs to the worker and follows the running ones: one thread, one look at the worker per turn.

    turn: look (waits at the worker until something changes) ─► settle what ended ─► cancels ─► send to free places
              └─ no answer: jobs stay where they are, say so, and the next turn comes later

What it decides about a job is one step in the store, so a cancel that comes between simply wins. A thousand
waiting jobs cost one request per turn. Nothing is in memory that a restart would need.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batch.peer import Answered, PeerError, Stopped, Unreachable
from web.auth import new_id
from web.following import Follower
from web.protocol import ErrorCode, JobRequest, Status
from web.spool import Spool
from web.steps import JobSteps, failed
from web.store import Job, Store
from web.worker_client import Look, WorkerClient

logger = logging.getLogger(__name__)

OPEN = (Status.QUEUED_REMOTE, Status.RUNNING)
QUICK_LOOK_S = 0.5
"""How long a look waits while a place is free: a new job must not wait for it."""
LONGEST_REST_S = 30.0
SENDERS = 4
WAITING = "Waiting for worker capacity"
_PASSING = frozenset({401, 403, 404, 409, 507})
"""No place, no room on the disk, an upload that was swept: tried again. What a wrong token means, the next look says."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Times in seconds."""

    poll_s: float = 5.0
    job_s: float = 3600.0
    queue_s: float = 24 * 3600.0


@dataclass(slots=True)
class Contact:
    """What is known about the worker; replaced whole, read from any thread."""

    capabilities: dict[str, Any] | None = None
    """As of the last look; None while it does not answer."""
    seen_at: float | None = None
    error_code: ErrorCode | None = None
    error_message: str | None = None

    @property
    def is_connected(self) -> bool:
        """Whether it answered the last look."""
        return self.capabilities is not None


@dataclass(slots=True)
class _Turn:
    """What one turn remembers for the next."""

    number: int = -1
    failures: int = 0
    send_again_at: float = 0.0
    """After a refusal that may pass."""
    sending: dict[str, Future[None]] = field(default_factory=dict)


class Dispatcher:
    """The one who speaks with the worker."""

    def __init__(
        self,
        store: Store,
        spool: Spool,
        worker: WorkerClient,
        result_path: Callable[[str], Path],
        patience: Patience,
        on_change: Callable[[], None],
    ) -> None:
        """Describe it; `start` begins.

        Args:
            store: the jobs.
            spool: their recordings.
            worker: who does them.
            result_path: where a job's result goes.
            patience: how long anything may take.
            on_change: told about every step of a job.
        """
        self._store = store
        self._spool = spool
        self._worker = worker
        self._steps = JobSteps(store, on_change)
        self._follower = Follower(self._steps, worker, result_path)
        self._patience = patience
        self._wake = threading.Event()
        self._is_over = False
        self._state = _Turn()
        self._senders = ThreadPoolExecutor(SENDERS, "sender")
        self._thread = threading.Thread(target=self._run, name="dispatcher")
        self.contact = Contact()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def free_slots(self) -> int | None:
        """Jobs that the worker would take now; None if it does not answer."""
        able = self.contact.capabilities
        return int(able["freeSlots"]) if able is not None else None

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def close(self) -> None:
        """End after this turn; running jobs go on at the worker."""
        self._is_over = True
        self._wake.set()
        self._worker.close()
        self._thread.join()
        self._senders.shutdown(cancel_futures=True)

    def cancel(self, job: Job) -> bool:
        """End an open job; a worker that may have it hears of it in a turn. Says whether it was open."""
        canceled = {
            "status": Status.CANCELED,
            "finished_at": time.time(),
            "error_code": ErrorCode.USER_CANCELED,
            "error_message": None,
        }
        may_be_there = job.worker_job_id is not None
        was_open = self._steps.move(
            job, [Status.QUEUED_REMOTE], must_cancel=may_be_there, **canceled
        ) or self._steps.move(job, [Status.RUNNING], must_cancel=True, **canceled)
        if was_open:
            self.wake()
        return was_open

    def _run(self) -> None:
        while not self._is_over:
            self._wake.clear()
            try:
                self._turn()
            except Exception:  # the boundary: a turn that breaks must not end the dispatcher
                logger.exception("a turn of the dispatcher broke")
                self._wake.wait(self._patience.poll_s)

    def _turn(self) -> None:
        running = self._store.jobs(Status.RUNNING)
        cancels = self._store.jobs_to_cancel()
        try:
            look = self._look(running, is_busy=bool(cancels))
        except PeerError as error:
            self._lost(error)
            return
        self._found(look)
        for job in running:
            self._follower.settle(job, look.jobs.get(job.worker_job_id or ""))
        for job in cancels:
            self._pass_on_cancel(job)
        self._dispatch(look.free)
        self._give_up_late()
        if not running:
            self._wake.wait(self._patience.poll_s)

    def _look(self, running: list[Job], *, is_busy: bool) -> Look:
        """Wait at the worker for a change, but only while it has jobs of ours, and nothing can be sent."""
        free = self.free_slots() or 0
        wait_s = min(QUICK_LOOK_S, self._patience.poll_s) if free else self._patience.poll_s
        if not running or is_busy or self._room(free):
            wait_s = 0.0
        ids = [job.worker_job_id for job in running if job.worker_job_id]
        return self._worker.look(ids, self._state.number, wait_s)

    def _found(self, look: Look) -> None:
        if not self.contact.is_connected:
            logger.info("the worker at %s answers", self._worker.url)
            self._store.move_all(Status.QUEUED_REMOTE, error_code=None, error_message=WAITING)
            self._store.move_all(Status.RUNNING, error_code=None, error_message=None)
            self._steps.note()
        self.contact = Contact(look.capabilities, time.time())
        self._state.number = look.number
        self._state.failures = 0

    def _lost(self, error: PeerError) -> None:
        """Nobody answers, or not to us: say so, give up what is too late, and come back later."""
        refused = isinstance(error, Answered) and error.status in (401, 403)
        code = ErrorCode.UNAUTHORIZED if refused else ErrorCode.UNREACHABLE
        if self.contact.error_code is not code:
            logger.warning("%s: %s", code, error)
        before = self.contact
        self.contact = Contact(None, before.seen_at, code, str(error))
        if refused:
            self._store.move_all(
                Status.QUEUED_REMOTE, **failed(code, "the worker refuses the controller's token")
            )
        else:
            for status in OPEN:
                self._store.move_all(status, error_code=code, error_message=str(error))
        self._steps.note()
        self._give_up_late()
        self._state.failures += 1
        most_s = min(LONGEST_REST_S, self._patience.poll_s * 2 ** min(self._state.failures, 8) / 2)
        # Jobs that come meanwhile change nothing, so only the end interrupts this rest.
        deadline = time.monotonic() + random.uniform(most_s / 2, most_s)
        while not self._is_over and (left_s := deadline - time.monotonic()) > 0:
            self._wake.wait(left_s)
            self._wake.clear()

    def _pass_on_cancel(self, job: Job) -> None:
        if job.worker_job_id is None:
            return
        try:
            self._worker.cancel(job.worker_job_id)
        except PeerError as error:
            logger.warning("the cancel of %s did not arrive: %s", job.id, error)
            return
        self._store.move(job.id, [*Status], must_cancel=False)

    def _dispatch(self, free: int) -> None:
        """Fill the worker's free places; recordings travel in threads of their own."""
        for job in self._room(free):
            self._state.sending[job.id] = self._senders.submit(self._send, job)

    def _room(self, free: int) -> list[Job]:
        """The queued jobs that could be sent now."""
        sending = self._state.sending
        for job_id in [job_id for job_id, future in sending.items() if future.done()]:
            del sending[job_id]
        room = min(free, SENDERS) - len(sending)
        if room <= 0 or time.monotonic() < self._state.send_again_at:
            return []
        queued = self._store.jobs(Status.QUEUED_REMOTE, most=room + len(sending))
        return [job for job in queued if job.id not in sending][:room]

    def _send(self, job: Job) -> None:
        """Bring one job to the worker. Its name there is noted first, so that a lost answer loses nothing."""
        worker_job_id = job.worker_job_id or new_id("wk")
        if not self._steps.move(job, [Status.QUEUED_REMOTE], worker_job_id=worker_job_id):
            return
        changes = self._sent(job, worker_job_id)
        if not self._steps.move(job, [Status.QUEUED_REMOTE], **changes):
            # It was canceled while it travelled, and may have arrived.
            self._store.move(job.id, [Status.CANCELED], must_cancel=True)
        self.wake()

    def _sent(self, job: Job, worker_job_id: str) -> dict[str, Any]:
        """Send a job; what that changes in it."""
        request = JobRequest.model_validate_json(job.request)
        try:
            if not (job.worker_job_id and self._worker.knows(worker_job_id)):
                self._worker.create(worker_job_id, request, self._spool.path(job.upload_id))
        except Unreachable as error:
            return {"error_code": ErrorCode.UNREACHABLE, "error_message": str(error)}
        except Answered as error:
            return self._refused(error)
        except Stopped:
            return {"error_message": WAITING}
        except OSError as error:
            return failed(ErrorCode.DISPATCH_FAILED, f"the recording is gone: {error}")
        now = time.time()
        return {
            "status": Status.RUNNING,
            "started_at": now,
            "last_seen_at": now,
            "stage": "preparing",
            "error_code": None,
            "error_message": None,
        }

    def _refused(self, error: Answered) -> dict[str, Any]:
        """What a refusal changes in a job."""
        if error.status not in _PASSING:
            words = f"the worker refuses: {error}"
            return {**failed(ErrorCode.DISPATCH_FAILED, words), "worker_error_code": error.code}
        self._state.send_again_at = time.monotonic() + self._patience.poll_s
        words = WAITING if error.code == "AT_CAPACITY" else str(error)
        return {"error_code": None, "error_message": words}

    def _give_up_late(self) -> None:
        """Fail jobs that wait or run too long."""
        now, patience = time.time(), self._patience
        for job in self._store.jobs(Status.RUNNING):
            if now - (job.started_at or now) > patience.job_s:
                words = f"it ran longer than {patience.job_s:g} s (REMOTE_WORKER_TIMEOUT_SECONDS)"
                self._steps.fail(job, Status.RUNNING, ErrorCode.TIMEOUT, words, must_cancel=True)
        for job in self._store.queued_before(now - patience.queue_s):
            words = f"it waited longer than {patience.queue_s:g} s (REMOTE_WORKER_QUEUE_SECONDS)"
            was_seen = (self.contact.seen_at or 0.0) >= job.created_at
            code = ErrorCode.CAPACITY if was_seen else ErrorCode.TIMEOUT
            self._steps.fail(job, Status.QUEUED_REMOTE, code, words)
