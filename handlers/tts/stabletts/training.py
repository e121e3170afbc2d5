"""Recipe: train a voice on the project's recorded verses, publish it with its loss curve."""

from __future__ import annotations

from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Purpose, Stage
from gitlab_jobs.errors import JobCanceledException
from gitlab_jobs.job import JobResult
from handlers import corpus
from handlers.base import Heartbeat, Trained
from handlers.publishing import KEEPS_MODEL, publish_curve, publish_report
from handlers.tts.stabletts import report
from handlers.tts.stabletts.recipe import recipe
from handlers.tts.stabletts.spelling import romanize_rare_letters, spelling_of
from handlers.tts.stabletts.summary import job_result
from pipelines.tts.stabletts import train as trainer
from pipelines.tts.stabletts.base import find_base
from pipelines.tts.stabletts.voice import FILE_NAME


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Train, and nothing else."""
    return train(job_context, callbacks).result


def train(job_context: JobContext, callbacks: JobCallbacks) -> Trained:
    """The training half, also of `training_and_inference`."""
    job, work_dir = job_context.job, callbacks.get_work_dir()
    choice, spelling = callbacks.resolve_model("stabletts"), spelling_of(job)
    start = find_base(choice.base).acoustic
    config = recipe(job, choice, is_tiny=start is None)
    if job.model.base_checkpoint:
        start = callbacks.download_checkpoint(job.model.base_checkpoint)
    data = corpus.download(callbacks, Purpose.TRAIN)
    home = callbacks.get_training_dir()
    material = trainer.TrainingData(
        corpus.clips(data), home, work_dir / "mels", start, spelling, romanize_rare_letters
    )
    try:
        with callbacks.stage(Stage.TRAIN):
            heartbeat = Heartbeat(callbacks)
            result = trainer.train(config, material, device=choice.device, progress=heartbeat)
    except JobCanceledException as stop:
        if stop.reason in KEEPS_MODEL and (partial := trainer.best_so_far(home)):
            _publish(job_context, callbacks, partial / FILE_NAME, home / trainer.METRICS_CSV)
        raise
    path = _publish(job_context, callbacks, result.voice_path, result.metrics_csv)
    done, parts = job_result(path, result, data), report.of_training(result, data)
    publish_report(job_context, callbacks, done.summary or "", parts)
    return Trained(result.voice_path, done, parts)


def _publish(context: JobContext, callbacks: JobCallbacks, voice: Path, metrics: Path) -> str:
    """Upload a voice and its curve; returns the voice's repository path."""
    path = context.model_path("best_model.pt")
    with callbacks.stage(Stage.UPLOAD):
        callbacks.upload_file_lfs(voice, path)
        publish_curve(context, callbacks, metrics)
    return path
