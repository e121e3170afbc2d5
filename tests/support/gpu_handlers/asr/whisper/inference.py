"""A stand-in for Whisper on a GPU that is too small: it runs out of memory unless its share is small.

The name of the job says which share fits. Jobs that "meet" wait for each other in the folder that the
description names. Those that "keep" leave a model in their process.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext, ModelChoice, Stage
from gitlab_jobs.job import JobResult


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Take a share of the memory, and tell on which GPU."""
    job = job_context.job
    choice = callbacks.resolve_model("whisper")
    with callbacks.stage(Stage.INFER):
        if job.name == "meet":
            meet(Path(job.description or "."), job.job_id)
        elif job.name == "keep":
            callbacks.load_once(Model)
        else:
            use_gpu(float(job.name or 1), job_context, callbacks, choice)
    gpu = os.environ["CUDA_VISIBLE_DEVICES"]
    facts = {"gpu": gpu, "share": choice.batch_share, "device": choice.device, "pid": os.getpid()}
    return JobResult(facts=facts)


class Model:
    """What a process keeps."""


def use_gpu(
    fitting_share: float, job_context: JobContext, callbacks: JobCallbacks, choice: ModelChoice
) -> None:
    """Hand something over, then run out of memory if the share is too large."""
    note = callbacks.get_work_dir() / "note.txt"
    note.write_text("half a result\n", encoding="utf-8")
    callbacks.upload_files_batch({f"{job_context.folder}/{choice.batch_share}.txt": note})
    if choice.batch_share > fitting_share and choice.device == "cuda":
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")


def meet(folder: Path, job_id: str) -> None:
    """Wait until three are there."""
    (folder / job_id).touch()
    while len(list(folder.iterdir())) < 3:
        time.sleep(0.02)
