"""Recipe: train a recogniser on the project's recorded verses, publish it with its loss curve."""

from __future__ import annotations

from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Purpose, Stage
from gitlab_jobs.errors import JobCanceledException
from gitlab_jobs.job import JobResult
from handlers import corpus
from handlers.asr.w2v2bert.checkpoint import fetch_model, publish_model
from handlers.asr.w2v2bert.recipe import recipe
from handlers.asr.w2v2bert.report import of_training
from handlers.asr.w2v2bert.summary import training_facts, training_summary
from handlers.base import Heartbeat, Trained
from handlers.publishing import KEEPS_MODEL, publish_curve, publish_report
from pipelines.asr.w2v2bert import train as trainer
from pipelines.asr.w2v2bert.archive import FINAL_NAME


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Train, and nothing else."""
    trained = train(job_context, callbacks)
    publish_report(job_context, callbacks, trained.result.summary or "", trained.parts)
    return trained.result


def train(job_context: JobContext, callbacks: JobCallbacks) -> Trained:
    """The training half, also of `training_and_inference`."""
    job = job_context.job
    choice = callbacks.resolve_model("w2v2bert")
    config = recipe(job, choice)
    start = fetch_model(callbacks, job.model.base_checkpoint) if job.model.base_checkpoint else None
    data = corpus.download(callbacks, Purpose.TRAIN)
    home = callbacks.get_training_dir()
    base = None if config.encoder else Path(choice.base)
    clips = corpus.clips(data)
    material = trainer.TrainingData(clips, home, base, start, data.project_texts)
    try:
        with callbacks.stage(Stage.TRAIN):
            result = trainer.train(
                config, material, device=choice.device, progress=Heartbeat(callbacks)
            )
    except JobCanceledException as stop:
        if stop.reason in KEEPS_MODEL and (partial := trainer.best_so_far(home)):
            publish_model(job_context, callbacks, partial)
            publish_curve(job_context, callbacks, home / trainer.METRICS_CSV)
        raise
    publish_curve(job_context, callbacks, result.metrics_csv)
    if result.final_directory:
        publish_model(job_context, callbacks, result.final_directory, FINAL_NAME)
    audio = {clip.id: clip.audio for clip in clips}
    return Trained(
        result.model_directory,
        JobResult(
            checkpoint_path=publish_model(job_context, callbacks, result.model_directory),
            epochs_completed=result.epochs_completed,
            summary=training_summary(job, result),
            facts=training_facts(result, data),
        ),
        of_training(result, data, audio),
    )
