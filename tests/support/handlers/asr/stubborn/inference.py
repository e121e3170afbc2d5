"""A handler that listens to nobody: no heartbeat, no signal but the last one."""

from __future__ import annotations

import signal
import time

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Stage
from gitlab_jobs.job import JobResult


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Begin, then sleep for ever."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with callbacks.stage(Stage.INFER):
        while True:
            time.sleep(0.1)
