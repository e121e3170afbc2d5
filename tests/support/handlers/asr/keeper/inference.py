"""A handler that keeps a model, and tells which process it ran in and what it found there.

The name of the job says what else it does: "crash", "wait", "shout", "leave a child".
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Stage
from gitlab_jobs.job import JobResult


class Model:
    """Slow to load, in principle."""

    def __init__(self, base: str, *, device: str) -> None:
        self.where = f"{base} on {device}"
        self.jobs: list[str] = []


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Use the model; what an earlier job left in it shows."""
    job = job_context.job
    with callbacks.stage(Stage.INFER):
        model = callbacks.load_once(Model, "base", device="cpu")
        sys.stdout.write(f"this is job {job.job_id}\n")
        if job.name == "shout":
            os.write(2, b"an unfinished line of " + job.job_id.encode())
        if job.name == "leave a child":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        while job.name == "wait":
            callbacks.heartbeat()
            time.sleep(0.02)
        if job.name == "crash":
            os.abort()
    model.jobs.append(job.job_id)
    (Path(tempfile.gettempdir()) / "left-behind").touch()
    return JobResult(
        facts={
            "pid": os.getpid(),
            "jobs": list(model.jobs),
            "folder": str(Path.cwd()),
            "work_dir": str(callbacks.get_work_dir()),
            "temporary": tempfile.gettempdir(),
        }
    )
