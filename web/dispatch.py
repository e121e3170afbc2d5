"""Gives queued jobs to the worker and follows the running ones: one thread, one look at the worker per turn.

    turn: look (waits at the worker until something changes) ─► settle what ended ─► cancels ─► send to free places
              └─ no answer: jobs stay where they are, say so, and the next turn comes later

What it decides about a job is one step in the store, so a cancel that comes between simply wins. A thousand
waiting jobs cost one request per turn. Nothing is in memory that a restart would need.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batch.peer import Answered, PeerError, Unreachable
from web.auth import new_id
from web.protocol import ErrorCode, JobRequest, Status
from web.spool import Spool
from web.store import Job, Store
from web.worker_client import Look, WorkerClient

logger = logging.getLogger(__name__)

OPEN = (Status.QUEUED_REMOTE, Status.RUNNING)
MOST_ATTEMPTS = 2
"""A job that the worker lost is given to it once more."""
QUICK_LOOK_S = 0.5
"""How long a look waits while a place is free: a new job must not wait for it."""
LONGEST_REST_S = 30.0
SENDERS = 4
WAITING = "Waiting for worker capacity"
_INTERRUPTED = "RUNNER_INTERRUPTED"
_PASSING = frozenset({404, 409, 507})
"""No place, no room on the disk, an upload that was swept: the next turn tries again."""


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
        self._result_path = result_path
        self._patience = patience
        self._on_change = on_change
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
        """End an open job; the worker hears of it in a turn. Says whether it was open."""
        now = time.time()
        canceled = {
            "status": Status.CANCELED,
            "finished_at": now,
            "error_code": ErrorCode.USER_CANCELED,
            "error_message": None,
        }
        was_open = self._move(job, [Status.QUEUED_REMOTE], must_cancel=False, **canceled)
        was_open = was_open or self._move(job, [Status.RUNNING], must_cancel=True, **canceled)
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
            self._settle(job, look.jobs.get(job.worker_job_id or ""))
        for job in cancels:
            self._pass_on_cancel(job)
        self._dispatch(look)
        self._give_up_late()
        if not running and not self._state.sending:
            self._wake.wait(self._patience.poll_s)

    def _look(self, running: list[Job], *, is_busy: bool) -> Look:
        """Wait at the worker only while it has jobs of ours."""
        has_queue = bool(self._store.jobs(Status.QUEUED_REMOTE, most=1))
        is_full = not self.free_slots()
        wait_s = self._patience.poll_s if is_full else min(QUICK_LOOK_S, self._patience.poll_s)
        if not running or is_busy or (has_queue and not is_full):
            wait_s = 0.0
        ids = [job.worker_job_id for job in running if job.worker_job_id]
        return self._worker.look(ids, self._state.number, wait_s)

    def _found(self, look: Look) -> None:
        if not self.contact.is_connected:
            logger.info("the worker at %s answers", self._worker.url)
            self._store.move_all(Status.QUEUED_REMOTE, error_code=None, error_message=WAITING)
            self._store.move_all(Status.RUNNING, error_code=None, error_message=None)
            self._on_change()
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
                Status.QUEUED_REMOTE, **_failed(code, "the worker refuses the controller's token")
            )
        else:
            for status in OPEN:
                self._store.move_all(status, error_code=code, error_message=str(error))
        self._on_change()
        self._give_up_late()
        self._state.failures += 1
        most_s = min(LONGEST_REST_S, self._patience.poll_s * 2 ** min(self._state.failures, 8) / 2)
        # Jobs that come meanwhile change nothing, so only the end interrupts this rest.
        deadline = time.monotonic() + random.uniform(most_s / 2, most_s)
        while not self._is_over and (left_s := deadline - time.monotonic()) > 0:
            self._wake.wait(left_s)
            self._wake.clear()

    def _settle(self, job: Job, told: dict[str, Any] | None) -> None:
        """Take over what the worker says about a running job."""
        if told is None:
            self._requeue(job, "the worker does not know the job any more")
            return
        status = Status(told["status"])
        if status is Status.COMPLETE:
            self._complete(job, told)
        elif status is Status.FAILED and told["lastErrorCode"] == _INTERRUPTED:
            self._requeue(job, told["lastErrorMessage"])
        elif status.is_final:
            words = f"{told['lastErrorCode']}: {told['lastErrorMessage']}"
            ended = _failed(ErrorCode.REMOTE_FAILED, words)
            self._move(job, [Status.RUNNING], worker_error_code=told["lastErrorCode"], **ended)
        else:
            progress = told["progress"]
            news = {"stage": progress["stage"], "percent": progress["percent"]}
            self._store.move(job.id, [Status.RUNNING], last_seen_at=time.time(), **news)
            if (job.stage, job.percent) != (news["stage"], news["percent"]):
                self._on_change()

    def _complete(self, job: Job, told: dict[str, Any]) -> None:
        """Have the result here before anybody hears that there is one."""
        try:
            result = self._worker.result(told["id"])
        except Unreachable:
            return  # the next turn asks again
        except Answered as error:
            self._requeue(job, f"the result is gone: {error}")
            return
        expected = told["result"]["sha256"]
        if hashlib.sha256(result).hexdigest() != expected:
            logger.warning("the result of %s was damaged on its way", job.id)
            return
        path = self._result_path(job.id)
        part = path.with_suffix(".part")
        part.write_bytes(result)
        part.replace(path)
        self._move(
            job,
            [Status.RUNNING],
            status=Status.COMPLETE,
            stage="finalizing",
            percent=100,
            finished_at=time.time(),
            audio_s=told["result"]["audioSeconds"],
            result_sha256=expected,
            error_code=None,
            error_message=None,
        )

    def _requeue(self, job: Job, words: str) -> None:
        """Give a job to the worker once more, or give it up."""
        if job.attempt >= MOST_ATTEMPTS:
            ended = _failed(ErrorCode.REMOTE_FAILED, f"{_INTERRUPTED}: {words}")
            self._move(job, [Status.RUNNING], worker_error_code=_INTERRUPTED, **ended)
            return
        logger.warning("job %s is queued again: %s", job.id, words)
        self._move(
            job,
            [Status.RUNNING],
            status=Status.QUEUED_REMOTE,
            attempt=job.attempt + 1,
            worker_job_id=None,
            stage="queued",
            percent=0,
            started_at=None,
            error_message=words,
        )

    def _pass_on_cancel(self, job: Job) -> None:
        if job.worker_job_id is None:
            return
        try:
            self._worker.cancel(job.worker_job_id)
        except PeerError as error:
            logger.warning("the cancel of %s did not arrive: %s", job.id, error)
            return
        self._store.move(job.id, [*Status], must_cancel=False)

    def _dispatch(self, look: Look) -> None:
        """Fill the worker's free places; recordings travel in threads of their own."""
        sending = self._state.sending
        for job_id in [job_id for job_id, future in sending.items() if future.done()]:
            del sending[job_id]
        room = min(look.free, SENDERS) - len(sending)
        if room <= 0:
            return
        queued = self._store.jobs(Status.QUEUED_REMOTE, most=room + len(sending))
        for job in [job for job in queued if job.id not in sending][:room]:
            sending[job.id] = self._senders.submit(self._send, job)

    def _send(self, job: Job) -> None:
        """Bring one job to the worker. Its name there is noted first, so that a lost answer loses nothing."""
        worker_job_id = job.worker_job_id or new_id("wk")
        if not self._move(job, [Status.QUEUED_REMOTE], worker_job_id=worker_job_id):
            return
        request = JobRequest.model_validate_json(job.request)
        try:
            if not (job.worker_job_id and self._worker.knows(worker_job_id)):
                self._worker.create(worker_job_id, request, self._spool.path(job.upload_id))
        except Unreachable as error:
            unreachable = {"error_code": ErrorCode.UNREACHABLE, "error_message": str(error)}
            self._move(job, [Status.QUEUED_REMOTE], **unreachable)
        except Answered as error:
            self._refused(job, error)
        except OSError as error:
            ended = _failed(ErrorCode.DISPATCH_FAILED, f"the recording is gone: {error}")
            self._move(job, [Status.QUEUED_REMOTE], **ended)
        else:
            self._started(job, worker_job_id)
        self.wake()

    def _started(self, job: Job, worker_job_id: str) -> None:
        now = time.time()
        started = {"started_at": now, "last_seen_at": now, "stage": "preparing"}
        clear = {"error_code": None, "error_message": None}
        if not self._move(job, [Status.QUEUED_REMOTE], status=Status.RUNNING, **started, **clear):
            # It was canceled while it travelled.
            self._store.move(
                job.id, [Status.CANCELED], worker_job_id=worker_job_id, must_cancel=True
            )

    def _refused(self, job: Job, error: Answered) -> None:
        if error.status in (401, 403):
            pass  # the next look says it for all jobs
        elif error.status in _PASSING:
            words = WAITING if error.code == "AT_CAPACITY" else str(error)
            self._move(job, [Status.QUEUED_REMOTE], error_code=None, error_message=words)
        else:
            ended = _failed(ErrorCode.DISPATCH_FAILED, f"the worker refuses: {error}")
            self._move(job, [Status.QUEUED_REMOTE], worker_error_code=error.code, **ended)

    def _give_up_late(self) -> None:
        """Fail jobs that wait or run too long."""
        now, patience = time.time(), self._patience
        for job in self._store.jobs(Status.RUNNING):
            if now - (job.started_at or now) > patience.job_s:
                words = f"it ran longer than {patience.job_s:g} s (REMOTE_WORKER_TIMEOUT_SECONDS)"
                late = _failed(ErrorCode.TIMEOUT, words)
                self._move(job, [Status.RUNNING], must_cancel=True, **late)
        for job in self._store.queued_before(now - patience.queue_s):
            words = f"it waited longer than {patience.queue_s:g} s (REMOTE_WORKER_QUEUE_SECONDS)"
            was_seen = (self.contact.seen_at or 0.0) >= job.created_at
            code = ErrorCode.CAPACITY if was_seen else ErrorCode.TIMEOUT
            self._move(job, [Status.QUEUED_REMOTE], **_failed(code, words))

    def _move(self, job: Job, sources: list[Status], **changes: Any) -> bool:
        was_there = self._store.move(job.id, sources, **changes)
        if was_there:
            self._on_change()
        return was_there


def _failed(code: ErrorCode, words: str) -> dict[str, Any]:
    return {
        "status": Status.FAILED,
        "finished_at": time.time(),
        "error_code": code,
        "error_message": words,
    }
