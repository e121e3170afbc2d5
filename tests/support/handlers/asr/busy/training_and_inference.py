"""A handler that does a little of everything a job can do: fetch, train, transcribe, speak, send.

`repeat` of the manifest entry says how often it writes each text; more than a thousand makes a large job.
"""

from __future__ import annotations

import time

from gitlab_jobs.callbacks import JobCallbacks, JobContext, ProjectData, Purpose, Stage
from gitlab_jobs.codex.changes import AddTake, SetText, TakeMedia
from gitlab_jobs.job import JobResult

LONG_ENOUGH_FOR_A_RENEWAL_S = 0.1
MEDIA = TakeMedia("audio/webm", 24_000, 1, 1.0)


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Fetch the recordings, train, write text and audio into cells, and send a model."""
    with callbacks.stage(Stage.DOWNLOAD):
        recorded = callbacks.download_project_data(Purpose.TRANSCRIBE)
        written = callbacks.download_project_data(Purpose.SPEAK)
    with callbacks.stage(Stage.TRAIN):
        callbacks.heartbeat(epochs_completed=1, message="Training epoch 1")
        time.sleep(LONG_ENOUGH_FOR_A_RENEWAL_S)
    with callbacks.stage(Stage.INFER):
        fill_cells(recorded, written, callbacks, job_context.job.extra.get("repeat", 1))
    with callbacks.stage(Stage.UPLOAD):
        folder = callbacks.get_work_dir()
        model, metrics = folder / "model.pt", folder / "metrics.csv"
        model.write_bytes(b"weights of " + job_context.job.job_id.encode())
        metrics.write_text("epoch,loss\n1,0.5\n", encoding="utf-8")
        callbacks.upload_file_lfs(model, f"{job_context.folder}/checkpoint/best_model.pt")
        table = f"{job_context.folder}/checkpoint/training_metrics.csv"
        callbacks.upload_files_batch({table: metrics})
    return JobResult(
        checkpoint_path=f"{job_context.folder}/checkpoint/best_model.pt",
        epochs_completed=job_context.job.epochs,
        summary=f"{len(recorded.utterances)} verses written, {len(written.utterances)} spoken.",
    )


def fill_cells(
    recorded: ProjectData, written: ProjectData, callbacks: JobCallbacks, repeat: int
) -> None:
    """Text for what is only recorded, a take for what is only written."""
    for one in recorded.utterances:
        text = SetText(one.cell_id, f"heard {one.reference}", one.take_id, one.listed)
        callbacks.update_codex_file(one.notebook, [text] * repeat)
    for one in written.utterances:
        audio = callbacks.get_work_dir() / f"{one.cell_id}.webm"
        audio.write_bytes(f"the sound of {one.text}".encode())
        take = AddTake(one.cell_id, audio, MEDIA, one.text, one.listed)
        callbacks.update_codex_file(one.notebook, [take])
