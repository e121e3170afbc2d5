"""What the jobs of all models leave in their folder besides models and cells: the curve and the report.

Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext
from gitlab_jobs.job import CancelReason
from pipelines.report.page import Report, write_report
from pipelines.report.parts import Part

REPORT = "report.html"
KEEPS_MODEL = (CancelReason.USER_CANCELED, CancelReason.TIMEOUT)
"""Ends after which the best model so far is still worth having."""


def publish_curve(job_context: JobContext, callbacks: JobCallbacks, metrics_csv: Path) -> None:
    """Leave the loss curve where the editor's graph looks for it, if there is one."""
    if metrics_csv.exists():
        path = job_context.metrics_path
        callbacks.upload_files_batch({path: metrics_csv})


def publish_report(
    job_context: JobContext, callbacks: JobCallbacks, lead: str, parts: Sequence[Part]
) -> None:
    """Leave a page about the job in its folder; `lead` says in a sentence or two what came of it."""
    job = job_context.job
    title = job.name or f"{job.model.type}: {job.mode.replace('_', ' ')}"
    page = write_report(callbacks.get_work_dir() / REPORT, Report(title, lead, parts))
    callbacks.upload_files_batch({f"{job_context.folder}/{REPORT}": page})
