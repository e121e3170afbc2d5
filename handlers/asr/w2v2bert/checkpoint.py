"""A recogniser's way into the repository and back: one file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext, ModelChoice, Stage
from pipelines.asr.w2v2bert.archive import FILE_NAME, pack, unpack
from pipelines.asr.w2v2bert.transcribe import Transcriber


def publish_model(
    job_context: JobContext,
    callbacks: JobCallbacks,
    model_directory: Path,
    file_name: str = FILE_NAME,
) -> str:
    """Upload a model as one file; returns its repository path."""
    path = job_context.model_path(file_name)
    with callbacks.stage(Stage.UPLOAD):
        archive = callbacks.get_work_dir() / file_name
        pack(model_directory, archive)
        callbacks.upload_file_lfs(archive, path)
    return path


def fetch_model(callbacks: JobCallbacks, repository_path: str) -> Path:
    """Download a model that some worker published, as a directory."""
    archive = callbacks.download_checkpoint(repository_path)
    directory = Path(tempfile.mkdtemp(prefix="model-", dir=callbacks.get_work_dir()))
    unpack(archive, directory)
    return directory


def open_transcriber(model: Path, choice: ModelChoice) -> Transcriber:
    """Load a recogniser: from its directory, or from the file that it was published as."""
    if not model.is_dir():
        with tempfile.TemporaryDirectory(prefix="model-") as directory:
            unpack(model, Path(directory))
            return open_transcriber(Path(directory), choice)
    return Transcriber(
        model,
        device=choice.device,
        precision=choice.precision,
        batch_share=choice.batch_share,
        piece_share=choice.piece_share,
    )
