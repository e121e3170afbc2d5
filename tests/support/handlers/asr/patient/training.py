"""A handler that "trains": it counts epochs, waits where it is told to, and sends a model.

Read from unknown keys of the manifest entry: `wait_in` names the stage in which it waits for the file
`gate` (for ever without one), `beats` a file that gets a line with the time for every beat meanwhile.
"""

from __future__ import annotations

import time
from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Stage
from gitlab_jobs.errors import JobCanceledException
from gitlab_jobs.job import CancelReason, JobResult

STAGES = (Stage.DOWNLOAD, Stage.PREPROCESS, Stage.TRAIN, Stage.EVALUATE, Stage.INFER)


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Go through all stages; a canceled run leaves its partial model, as real training does."""
    try:
        for stage in STAGES:
            with callbacks.stage(stage):
                work(stage, job_context, callbacks)
    except JobCanceledException as canceled:
        if canceled.reason is CancelReason.USER_CANCELED:
            send_model(job_context, callbacks)
        raise
    with callbacks.stage(Stage.UPLOAD):
        send_model(job_context, callbacks)
        wait_if_asked(Stage.UPLOAD, job_context, callbacks)
    epochs = job_context.job.epochs
    return JobResult(
        checkpoint_path=model_path(job_context),
        epochs_completed=epochs,
        summary=f"Trained for {epochs} epochs.",
    )


def work(stage: Stage, job_context: JobContext, callbacks: JobCallbacks) -> None:
    """Count epochs while training, then wait if this is the place."""
    if stage is Stage.TRAIN:
        for epoch in range(job_context.job.epochs or 0):
            callbacks.heartbeat(epochs_completed=epoch + 1, message=f"Training epoch {epoch + 1}")
    wait_if_asked(stage, job_context, callbacks)


def wait_if_asked(stage: Stage, job_context: JobContext, callbacks: JobCallbacks) -> None:
    """Wait for the gate, beating."""
    extra = job_context.job.extra
    gate = Path(extra.get("gate", "/nonexistent"))
    while extra.get("wait_in") == stage and not gate.exists():
        callbacks.heartbeat()
        if "beats" in extra:
            with Path(extra["beats"]).open("a", encoding="utf-8") as beats:
                beats.write(f"{time.time():.3f}\n")
        time.sleep(0.02)


def send_model(job_context: JobContext, callbacks: JobCallbacks) -> None:
    """Hand over a model file and its metrics."""
    folder = callbacks.get_work_dir()
    model, metrics = folder / "model.pt", folder / "metrics.csv"
    model.write_bytes(b"weights of " + job_context.job.job_id.encode())
    metrics.write_text("epoch,loss\n1,0.5\n", encoding="utf-8")
    callbacks.upload_file_lfs(model, model_path(job_context))
    callbacks.upload_files_batch({f"{job_context.folder}/checkpoint/training_metrics.csv": metrics})


def model_path(job_context: JobContext) -> str:
    """Where the model goes."""
    return f"{job_context.folder}/checkpoint/best_model.pt"
