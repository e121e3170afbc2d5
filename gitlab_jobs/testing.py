"""A bench for authors of handlers: run one on a plain directory, in this process, and see what it did.

    environment = HandlerEnvironment(project_dir, work_dir=tmp_path)
    done = environment.run(my_handler, job)
    assert done.stages == [Stage.DOWNLOAD, Stage.INFER]

The real parts are at work: the directory's store, the service that chooses and fetches cells, the JSON
that crosses to a child, and the code that applies changes to notebooks. What is missing is the child
process, the lease and `response.yaml`. A handler's own errors reach the test as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from gitlab_jobs import wire
from gitlab_jobs.callbacks import JobCallbacks, JobContext, Stage
from gitlab_jobs.child_callbacks import ChildCallbacks
from gitlab_jobs.composition import compose
from gitlab_jobs.ending import Ending
from gitlab_jobs.errors import JobCanceledException, JobError
from gitlab_jobs.job import CancelReason, Job, JobResult, JobState
from gitlab_jobs.job_child import as_result
from gitlab_jobs.local_store import LocalStore
from gitlab_jobs.outbox import Outbox
from gitlab_jobs.outcome import Outcome
from gitlab_jobs.publisher import edit_context
from gitlab_jobs.service import JobService, Site
from gitlab_jobs.settings import FamilySettings
from runner.child import RequestFailed, Stopped

Handler = Callable[[JobContext, JobCallbacks], Any]


@dataclass
class HandlerRun:
    """What a handler did.

    `result` is None if it was canceled, and then `canceled` has the reason. `stages`, `messages` and
    `epochs` are what it reported, in order; `callbacks` counts every call it made. `left_out` names
    changes that did not fit the notebooks any more.
    """

    result: JobResult | None = None
    canceled: CancelReason | None = None
    stages: list[Stage] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    callbacks: int = 0
    left_out: tuple[str, ...] = ()


class HandlerEnvironment:
    """A project in a directory, with a worker's account and models."""

    def __init__(
        self,
        project_dir: Path,
        *,
        work_dir: Path,
        username: str = "worker",
        models: FamilySettings | None = None,
        device: str = "cpu",
    ) -> None:
        """Work on the project in `project_dir`; the job's own files go below `work_dir`."""
        self._store = LocalStore(project_dir)
        self._username = username
        self._work_dir = work_dir
        self._models = models or FamilySettings()
        self._device = device

    def run(
        self,
        handler: ModuleType | Handler,
        job: Job,
        *,
        cancel_at: int | None = None,
        reason: CancelReason = CancelReason.USER_CANCELED,
    ) -> HandlerRun:
        """Run a handler and commit what it published to the directory.

        Args:
            handler: a handler's module, or its `run`.
            job: what to do.
            cancel_at: the number of the callback, from 1, that finds the job canceled. Callbacks
                after that one work, as they do while a child saves what it has.
            reason: why it is canceled.
        """
        scratch = self._work_dir / f"job_{job.job_id}"
        scratch.mkdir(parents=True, exist_ok=True)
        outbox = Outbox()
        cache = self._work_dir / "cache"
        site = Site(self._username, self._device, cache, scratch, self._models)
        line = _DirectLine(JobService(job, self._store, outbox, site), cancel_at, reason)
        run = handler.run if isinstance(handler, ModuleType) else handler
        try:
            returned = run(JobContext(job, 1, "bench"), ChildCallbacks(line, job, scratch))
            line.record.result = _crossed(as_result(returned))
            outcome = Outcome(JobState.COMPLETED, result=line.record.result)
        except JobCanceledException as canceled:
            line.record.canceled = canceled.reason
            outcome = Outcome(JobState.CANCELED, reason=canceled.reason)
        self._publish(job, outbox, outcome, line.record)
        return line.record

    def _publish(self, job: Job, outbox: Outbox, outcome: Outcome, record: HandlerRun) -> None:
        ending = Ending(outcome, outbox.contents(), None, heading=(), closing=())
        context = edit_context(job, self._username)
        composed = compose(self._store, ending.published_contents(), context)
        record.left_out = composed.dropped
        if composed.changes:
            self._store.commit(composed.changes, f"finish job {job.job_id}")


class _DirectLine:
    """A child's line whose other end is in the same process; records what passes."""

    def __init__(self, service: JobService, cancel_at: int | None, reason: CancelReason) -> None:
        self._service = service
        self._cancel_at = cancel_at
        self._reason = reason
        self.record = HandlerRun()

    @property
    def stop_reason(self) -> str | None:
        is_over = self._cancel_at is not None and self.record.callbacks >= self._cancel_at
        return self._reason.value if is_over else None

    def progress(self, **fields: object) -> None:
        self.record.callbacks += 1
        self._service.note_progress(fields)
        beat = wire.HEARTBEAT.validate_python(fields)
        if beat.message is not None:
            self.record.messages.append(beat.message)
        if beat.epochs_completed is not None:
            self.record.epochs.append(beat.epochs_completed)

    def request(
        self, name: str, payload: dict[str, Any], *, even_if_stopped: bool = False
    ) -> dict[str, Any]:
        self.record.callbacks += 1
        if self.stop_reason is not None and not even_if_stopped:
            raise Stopped(self.stop_reason)
        if name == "stage":
            self.record.stages.append(Stage(payload["stage"]))
        try:
            return self._service.serve(name, payload)
        except JobError as error:
            raise RequestFailed(type(error).__name__, error.code, str(error)) from error


def _crossed(result: JobResult) -> JobResult:
    """The result as it is after its way to the supervisor; fails on what is no plain data."""
    return wire.RESULT.validate_python(wire.pack(wire.RESULT, result))
