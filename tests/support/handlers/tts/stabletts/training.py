"""A stand-in for the real training of a voice: it counts the epochs and makes nothing."""

from __future__ import annotations

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Stage
from gitlab_jobs.job import JobResult


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Count to the number of epochs that the user asked for."""
    epochs = job_context.job.epochs or 0
    with callbacks.stage(Stage.TRAIN):
        for epoch in range(1, epochs + 1):
            callbacks.heartbeat(epochs_completed=epoch, message=f"Training epoch {epoch}")
    return JobResult(epochs_completed=epochs)
