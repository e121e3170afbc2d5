"""A stand-in for Whisper on a GPU that is too small: it runs out of memory unless its share is small.

The name of the job says which share fits. Jobs that "meet" wait for each other in the folder that the
description names.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Stage
from gitlab_jobs.job import JobResult


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Take a share of the memory, and tell on which GPU."""
    job = job_context.job
    choice = callbacks.resolve_model("whisper")
    with callbacks.stage(Stage.INFER):
        if job.name == "meet":
            meet(Path(job.description or "."), job.job_id)
        elif choice.batch_share > float(job.name or 1) and choice.device == "cuda":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    gpu = os.environ["CUDA_VISIBLE_DEVICES"]
    return JobResult(facts={"gpu": gpu, "share": choice.batch_share, "device": choice.device})


def meet(folder: Path, job_id: str) -> None:
    """Wait until three are there."""
    (folder / job_id).touch()
    while len(list(folder.iterdir())) < 3:
        time.sleep(0.02)
