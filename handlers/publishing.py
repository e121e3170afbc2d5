"""What the trainings of all models leave in the repository besides the model itself.

Knows no model.
"""

from __future__ import annotations

from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext
from gitlab_jobs.job import CancelReason

KEEPS_MODEL = (CancelReason.USER_CANCELED, CancelReason.TIMEOUT)
"""Ends after which the best model so far is still worth having."""


def publish_curve(job_context: JobContext, callbacks: JobCallbacks, metrics_csv: Path) -> None:
    """Leave the loss curve where the editor's graph looks for it, if there is one."""
    if metrics_csv.exists():
        path = job_context.metrics_path
        callbacks.upload_files_batch({path: metrics_csv})
