"""How an attempt ended, in the job's own terms: the one table from a child's end to a response.

Knows neither the store nor the process machinery; `attempt` asks once and publishes what it is told.
Messages are for translators; what an operator needs (traceback, last lines) goes into the log.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from gitlab_jobs import wire
from gitlab_jobs.job import CancelReason, JobResult, JobState
from runner.verdict import ChildExit, Verdict

_SEE_LOG = "The log of this job has the details."
_MESSAGES = {
    Verdict.OOM_GPU: "The job needed more GPU memory than this worker has.",
    Verdict.OOM_HOST: "The job needed more memory than this worker has.",
    Verdict.OOM_CGROUP: "The job needed more memory than it is allowed on this worker.",
    Verdict.GPU_LOST: "The worker's GPU failed while the job was running. Please submit it again.",
    Verdict.GPU_ERROR: "The worker's GPU reported an error while the job was running.",
    Verdict.MODEL_UNAVAILABLE: "The worker lacks a program or library that this kind of job needs.",
    Verdict.NO_PROGRESS: "The job stopped responding and was ended.",
    Verdict.CHILD_CRASH: "The job's program crashed.",
    Verdict.CHILD_PROTOCOL: "The job's program misbehaved and was ended.",
    Verdict.INTERNAL: "The worker made a mistake while it ran this job.",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an attempt.

    `state` None means that nothing may be written. `publishes_files` tells whether staged files
    (a model, metrics) belong to it, `publishes_cells` whether changes to notebooks do.
    """

    state: JobState | None
    reason: CancelReason | None = None
    result: JobResult | None = None
    error_message: str | None = None
    error_code: str | None = None

    @property
    def publishes_files(self) -> bool:
        """A finished job, and one whose user canceled it (a partial model may be worth keeping)."""
        return self.state is JobState.COMPLETED or self.reason in (
            CancelReason.USER_CANCELED,
            CancelReason.TIMEOUT,
        )

    @property
    def publishes_cells(self) -> bool:
        """Only a finished job changes what people wrote or recorded."""
        return self.state is JobState.COMPLETED

    @property
    def publishes_log(self) -> bool:
        """A job that was removed leaves nothing behind but its end."""
        return self.state is not None and self.reason is not CancelReason.JOB_REMOVED


def judge(ended: ChildExit, asked_to_stop: CancelReason | None) -> Outcome:
    """Translate a child's end.

    Args:
        ended: how the child ended.
        asked_to_stop: why it was told to; wins over everything, but work that is done is not thrown
            away because the daemon stops.
    """
    if ended.verdict is Verdict.SUCCEEDED and asked_to_stop in (None, CancelReason.SHUTDOWN):
        return _finished(ended)
    if asked_to_stop is not None:
        return _stopped(asked_to_stop)
    if ended.verdict is Verdict.CANCELED:
        return _stopped(CancelReason.SHUTDOWN)
    if ended.verdict is Verdict.FAILED and ended.error is not None and ended.error.code:
        return _failed(ended.error.message, ended.error.code)
    if ended.verdict is Verdict.FAILED:
        kind = ended.error.kind if ended.error else "unknown"
        return _failed(
            f"The job stopped on an unexpected error ({kind}). {_SEE_LOG}", "HANDLER_ERROR"
        )
    return _failed(f"{_MESSAGES[ended.verdict]} {_SEE_LOG}", ended.verdict.value)


def too_large() -> Outcome:
    """The end of a job whose results the server does not take, not even in parts."""
    return _failed(
        "The results could not be saved: a notebook of this project is larger than the server takes "
        "in one piece. Please ask whoever runs the server to allow larger requests.",
        "TOO_LARGE",
    )


def _finished(ended: ChildExit) -> Outcome:
    try:
        result = wire.RESULT.validate_python(ended.result)
    except ValidationError:
        return _failed(f"{_MESSAGES[Verdict.CHILD_PROTOCOL]} {_SEE_LOG}", "CHILD_PROTOCOL")
    return Outcome(JobState.COMPLETED, result=result)


def _stopped(reason: CancelReason) -> Outcome:
    if reason in (CancelReason.LEASE_LOST, CancelReason.FOLDER_DELETED, CancelReason.SHUTDOWN):
        return Outcome(None, reason=reason)
    return Outcome(JobState.CANCELED, reason=reason)


def _failed(message: str, code: str) -> Outcome:
    return Outcome(JobState.FAILED, error_message=message, error_code=code)
