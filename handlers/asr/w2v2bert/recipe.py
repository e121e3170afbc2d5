"""A job's own wishes and the operator's settings, put into the recipe of a training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gitlab_jobs.callbacks import ModelChoice
from gitlab_jobs.job import Job
from pipelines.asr.corrector.kinds import CorrectorKind
from pipelines.asr.w2v2bert.config import RecogniserConfig, standard, tiny

CLIP_S = 10.0
"""A job's `batch_size` counts recordings of this length."""


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
        "corrector": _corrector(choice) if job.transmorgrifier else None,
    }
    config = replace(config, **{name: wish for name, wish in wishes.items() if wish is not None})
    return replace(
        config,
        batch_s=config.batch_s * choice.batch_share,
        accumulate=config.accumulate * choice.accumulation,
        gradient_checkpointing=config.gradient_checkpointing or choice.checkpoints_activations,
        max_clip_s=choice.longest_clip_s or config.max_clip_s,
    )


def _corrector(choice: ModelChoice) -> CorrectorKind:
    return CorrectorKind(str(choice.options.get("corrector", CorrectorKind.OWN)))
