"""A handler that takes memory until somebody says no."""

from __future__ import annotations

import time

from gitlab_jobs.callbacks import JobCallbacks, JobContext
from gitlab_jobs.job import JobResult


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Take 4 MiB at a time, slowly enough to be seen."""
    kept = []
    while True:
        kept.append(b"x" * (4 << 20))
        time.sleep(0.005)
