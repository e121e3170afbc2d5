"""Recipe: train a recogniser on the project's recorded verses, publish it with its loss curve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from gitlab_jobs.callbacks import JobCallbacks, JobContext, ModelChoice, Purpose, Stage
from gitlab_jobs.errors import JobCanceledException
from gitlab_jobs.job import Job, JobResult
from handlers import corpus
from handlers.asr.w2v2bert.checkpoint import fetch_model, publish_model
from handlers.asr.w2v2bert.summary import training_facts, training_summary
from handlers.base import Heartbeat, Trained
from handlers.publishing import KEEPS_MODEL, publish_curve
from pipelines.asr.w2v2bert import train as trainer
from pipelines.asr.w2v2bert.config import RecogniserConfig, standard, tiny

CLIP_S = 10.0
"""A job's `batch_size` counts recordings of this length."""


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Train, and nothing else."""
    return train(job_context, callbacks).result


def train(job_context: JobContext, callbacks: JobCallbacks) -> Trained:
    """The training half, also of `training_and_inference`."""
    job = job_context.job
    choice = callbacks.resolve_model("w2v2bert")
    config = recipe(job, choice)
    start = fetch_model(callbacks, job.model.base_checkpoint) if job.model.base_checkpoint else None
    data = corpus.download(callbacks, Purpose.TRAIN)
    home = callbacks.get_training_dir()
    base = None if config.encoder else Path(choice.base)
    material = trainer.TrainingData(corpus.clips(data), home, base, start, data.project_texts)
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
    return Trained(
        result.model_directory,
        JobResult(
            checkpoint_path=publish_model(job_context, callbacks, result.model_directory),
            epochs_completed=result.epochs_completed,
            summary=training_summary(job, result),
            facts=training_facts(result, data),
        ),
    )


def recipe(job: Job, choice: ModelChoice) -> RecogniserConfig:
    """The family's recipe with what the job asks for itself."""
    config = tiny() if choice.base == "tiny" else standard()
    wishes: dict[str, Any] = {
        "epochs": job.epochs,
        "learning_rate": job.learning_rate,
        "batch_s": job.batch_size and job.batch_size * CLIP_S,
        "accumulate": job.batch_size and 1,
        "validation_fraction": job.val_split,
        "min_validation_clips": job.val_split and 1,
        "checkpoint_every_epochs": job.save_interval,
        "precision": choice.precision,
        "corrector": job.transmorgrifier,
    }
    config = replace(config, **{name: wish for name, wish in wishes.items() if wish is not None})
    return replace(
        config,
        batch_s=config.batch_s * choice.batch_share,
        accumulate=config.accumulate * choice.accumulation,
        gradient_checkpointing=config.gradient_checkpointing or choice.checkpoints_activations,
    )
