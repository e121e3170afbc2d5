"""What becomes of a running job by what the worker says about it: progress, a result, a failure, another try.

Knows one job at a time and no queue; called by the dispatcher's thread.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batch.peer import Answered, Unreachable
from web.protocol import ErrorCode, Status
from web.steps import JobSteps
from web.store import Job
from web.worker_client import WorkerClient

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 2
"""A job that the worker lost is given to it once more."""
_INTERRUPTED = "RUNNER_INTERRUPTED"


class Follower:
    """Takes over what the worker tells."""

    def __init__(
        self, steps: JobSteps, worker: WorkerClient, result_path: Callable[[str], Path]
    ) -> None:
        """Describe it.

        Args:
            steps: moves jobs.
            worker: has their results.
            result_path: where a job's result goes.
        """
        self._steps = steps
        self._worker = worker
        self._result_path = result_path

    def settle(self, job: Job, told: dict[str, Any] | None) -> None:
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
            self._fail(job, words, told["lastErrorCode"])
        else:
            self._steps.see(job, told["progress"]["stage"], told["progress"]["percent"])

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
        self._steps.move(
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
            self._fail(job, f"{_INTERRUPTED}: {words}", _INTERRUPTED)
            return
        logger.warning("job %s is queued again: %s", job.id, words)
        self._steps.move(
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

    def _fail(self, job: Job, words: str, worker_code: str) -> None:
        self._steps.fail(
            job, Status.RUNNING, ErrorCode.REMOTE_FAILED, words, worker_error_code=worker_code
        )
