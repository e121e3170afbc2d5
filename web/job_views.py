"""A job as answers show it, and the waiting for one that is not finished. Knows neither worker nor controller."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from web.changes import Changes
from web.problems import Refused
from web.protocol import FORMATS, Status, rfc3339
from web.results import MEDIA_TYPES, render
from web.store import Job, Store

LONGEST_WAIT_S = 60.0


def shown(job: Job, worker: dict[str, Any] | None = None) -> dict[str, Any]:
    """The job object.

    Args:
        job: as it is stored.
        worker: what is known about who works on it.
    """
    return {
        "id": job.id,
        "name": job.name,
        "uploadId": job.upload_id,
        "status": job.status,
        "executionMode": "remote",
        "createdAt": rfc3339(job.created_at),
        "startedAt": rfc3339(job.started_at),
        "finishedAt": rfc3339(job.finished_at),
        "progress": {"stage": job.stage, "percent": job.percent},
        "worker": worker,
        "attempt": job.attempt,
        "lastErrorCode": job.error_code,
        "lastErrorMessage": job.error_message,
        "workerErrorCode": job.worker_error_code,
        "options": _options(job),
        "result": {"sha256": job.result_sha256, "audioSeconds": job.audio_s}
        if job.status is Status.COMPLETE
        else None,
    }


def _options(job: Job) -> dict[str, Any]:
    """Without the words to expect, which may be many."""
    options: dict[str, Any] = json.loads(job.request)["options"]
    return {name: value for name, value in options.items() if name != "vocabulary"}


async def settled(store: Store, changes: Changes, job: Job, wait_s: float) -> Job:
    """The job once it is final, or as it is when the wait is over."""
    deadline = time.monotonic() + min(wait_s, LONGEST_WAIT_S)
    while not job.status.is_final and (left_s := deadline - time.monotonic()) > 0:
        number = changes.number
        job = await _again(store, job)
        if job.status.is_final or changes.is_over:
            break
        await changes.after(number, left_s)
    return await _again(store, job)


async def _again(store: Store, job: Job) -> Job:
    found: Job | None = await run_in_threadpool(store.job, job.id)
    return found or job


def result_of(job: Job, path: Path, form: str | None) -> Response:
    """A finished job's result, as it was made or in one of the forms.

    Raises:
        Refused: there is none.
    """
    if not job.status.is_final:
        raise Refused(409, "NOT_FINISHED", f"the job is {job.status}", retry_after_s=5.0)
    if job.status is not Status.COMPLETE:
        raise Refused(409, "NO_RESULT", f"the job is {job.status}: {job.error_code}")
    if not path.exists():
        raise Refused(410, "RESULT_EXPIRED", "the result was kept long enough")
    if form is None:
        return FileResponse(path, media_type="application/json")
    if form not in FORMATS:
        raise Refused(422, "INVALID", f"format is one of {', '.join(FORMATS)}", field="format")
    media_type = MEDIA_TYPES.get(form, "text/plain")
    return Response(render(path, form, job.name), media_type=f"{media_type}; charset=utf-8")
