"""A handler that fails in the way the manifest entry's `fails_with` says."""

from __future__ import annotations

import os

from gitlab_jobs.callbacks import JobCallbacks, JobContext
from gitlab_jobs.errors import JobError
from gitlab_jobs.job import JobResult


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Fail; "crash" ends the process, "bug" is an unexpected error, all else is told to the user."""
    how = job_context.job.extra["fails_with"]
    if how == "crash":
        os.abort()
    if how == "bug":
        raise ZeroDivisionError(f"in {__file__}")
    raise JobError(how)
