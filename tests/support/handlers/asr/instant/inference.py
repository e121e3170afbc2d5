"""A handler that is done at once."""

from __future__ import annotations

from gitlab_jobs.callbacks import JobCallbacks, JobContext
from gitlab_jobs.job import JobResult


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Say hello and leave."""
    callbacks.heartbeat(message="Halfway there")
    return JobResult(summary="Nothing was asked for.", facts=job_context.job.extra.get("facts", {}))
