"""What a job and this machine say about training and speaking, in the pipeline's terms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gitlab_jobs.callbacks import ModelChoice
from gitlab_jobs.job import Job
from pipelines.tts.stabletts.settings import TrainingConfig, tiny
from pipelines.tts.stabletts.solvers import Solver
from pipelines.tts.stabletts.synthesize import SpeakingConfig

CLIP_S = 5.0
"""A job's `batch_size` counts recordings of this length."""


def recipe(job: Job, choice: ModelChoice, *, is_tiny: bool) -> TrainingConfig:
    """The family's recipe, or the small one from scratch, with what the job asks for itself."""
    wishes: dict[str, Any] = {
        "epochs": job.epochs,
        "learning_rate": job.learning_rate,
        "batch_s": job.batch_size and job.batch_size * CLIP_S,
        "validation_fraction": job.val_split,
        "min_validation_clips": job.val_split and 1,
        "checkpoint_every_epochs": job.save_interval,
        "precision": choice.precision,
    }
    config = tiny() if is_tiny else TrainingConfig()
    config = replace(config, **{name: wish for name, wish in wishes.items() if wish is not None})
    return replace(
        config,
        batch_s=config.batch_s * choice.batch_share,
        accumulate=config.accumulate * choice.accumulation,
        gradient_checkpointing=choice.checkpoints_activations,
        limits=replace(config.limits, max_s=choice.longest_clip_s or config.limits.max_s),
    )


def speaking_config(choice: ModelChoice) -> SpeakingConfig:
    """How a voice speaks on this machine."""
    usual, wishes = SpeakingConfig(precision=choice.precision), choice.options
    sampling = replace(
        usual.sampling,
        solver=Solver(str(wishes.get("solver") or usual.sampling.solver)),
        steps=int(wishes.get("steps") or usual.sampling.steps),
    )
    return replace(
        usual,
        sampling=sampling,
        compiled=bool(wishes.get("compile")),
        tokens_per_batch=choice.share_of(usual.tokens_per_batch),
        most_symbols=round(usual.most_symbols * choice.piece_share),
    )
