"""A handler that prints what must not be seen, and far too much of everything else."""

from __future__ import annotations

import sys

from gitlab_jobs.callbacks import JobCallbacks, JobContext
from gitlab_jobs.job import JobResult


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Print the secret of the entry (split, coloured, in a URL), control characters, two megabytes."""
    secret = job_context.job.extra["secret"]
    sys.stdout.write(f"first line\n\x1b[31mtoken={secret}\x1b[0m \x07\x00\r")
    sys.stderr.write(f"https://oauth2:{secret}@gitlab.example.org/x.git\n")
    for number in range(20_000):
        sys.stdout.write(f"line {number} {'.' * 90}\n")
    sys.stdout.write(f"{secret}\nlast line\n")
    sys.stdout.flush()
    return JobResult()
