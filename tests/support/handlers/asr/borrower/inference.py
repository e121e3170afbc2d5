"""A handler that fetches the model its job starts from, and does nothing with it."""

from __future__ import annotations

from gitlab_jobs.callbacks import JobCallbacks, JobContext
from gitlab_jobs.job import JobResult


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Fetch it; what goes wrong is the supervisor's to say."""
    model = callbacks.download_checkpoint(job_context.job.model.base_checkpoint or "")
    return JobResult(facts={"model_bytes": model.stat().st_size})
