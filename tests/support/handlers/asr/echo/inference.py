"""A handler that "recognises" the reference of every recorded verse that waits for text."""

from __future__ import annotations

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Purpose, Stage
from gitlab_jobs.codex.changes import SetText
from gitlab_jobs.job import JobResult


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Write `heard <reference>` into each cell."""
    with callbacks.stage(Stage.DOWNLOAD):
        data = callbacks.download_project_data(Purpose.TRANSCRIBE)
    with callbacks.stage(Stage.INFER):
        for one in data.utterances:
            assert one.audio is not None
            assert one.audio.stat().st_size > 0
            change = SetText(one.cell_id, f"heard {one.reference}", one.take_id, one.listed)
            callbacks.update_codex_file(one.notebook, [change])
    return JobResult(summary=f"{len(data.utterances)} verses transcribed.")
