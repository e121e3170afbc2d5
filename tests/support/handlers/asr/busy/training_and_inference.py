"""A handler that does a little of everything a job can do: fetch, train, transcribe, speak, send.

`slow_s` of the manifest entry says how long it "trains", `gate` a file that it waits for.
"""

from __future__ import annotations

import time
from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext, ProjectData, Purpose, Stage
from gitlab_jobs.codex.changes import AddTake, SetText, TakeMedia
from gitlab_jobs.job import JobResult

MEDIA = TakeMedia("audio/webm", 24_000, 1, 1.0)


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Fetch the recordings, train, write text and audio into cells, and send a model."""
    with callbacks.stage(Stage.DOWNLOAD):
        recorded = callbacks.download_project_data(Purpose.TRANSCRIBE)
        written = callbacks.download_project_data(Purpose.SPEAK)
    with callbacks.stage(Stage.TRAIN):
        train(job_context, callbacks)
    with callbacks.stage(Stage.INFER):
        fill_cells(recorded, written, callbacks)
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


def train(job_context: JobContext, callbacks: JobCallbacks) -> None:
    """Beat until the time is over and the gate is open."""
    extra = job_context.job.extra
    gate, until = extra.get("gate"), time.monotonic() + extra.get("slow_s", 0.0)
    callbacks.heartbeat(epochs_completed=1, message="Training epoch 1")
    while time.monotonic() < until or (gate is not None and not Path(gate).exists()):
        callbacks.heartbeat()
        time.sleep(0.01)


def fill_cells(recorded: ProjectData, written: ProjectData, callbacks: JobCallbacks) -> None:
    """Text for what is only recorded, a take for what is only written."""
    for one in recorded.utterances:
        text = SetText(one.cell_id, f"heard {one.reference}", one.take_id, one.listed)
        callbacks.update_codex_file(one.notebook, [text])
    for one in written.utterances:
        audio = callbacks.get_work_dir() / f"{one.cell_id}.webm"
        audio.write_bytes(f"the sound of {one.text}".encode())
        take = AddTake(one.cell_id, audio, MEDIA, one.text, one.listed)
        callbacks.update_codex_file(one.notebook, [take])
