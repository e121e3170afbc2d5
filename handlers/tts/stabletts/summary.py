"""What a finished training of a voice says about itself: sentences, and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitlab_jobs.callbacks import ProjectData
from gitlab_jobs.job import JobResult
from handlers.corpus import MOST_NAMED
from pipelines.tts.stabletts.train import TrainResult


def job_result(path: str, result: TrainResult, data: ProjectData) -> JobResult:
    """The result of a training whose voice lies at a repository path."""
    return JobResult(
        checkpoint_path=path,
        epochs_completed=result.epochs_completed,
        summary=_sentences(result),
        facts=_facts(result, data),
    )


def _sentences(result: TrainResult) -> str:
    """Sentences for the user; no promise about the sound, which only ears can judge."""
    minutes = result.speech_s / 60
    sentences = [f"Trained on {result.training_clips} recordings ({minutes:.1f} min of speech)."]
    if result.validation_clips:
        sentences.append(
            f"It was best after epoch {result.best_epoch}, measured on {result.validation_clips} "
            "verses that it had not heard."
        )
    if result.skipped:
        sentences.append(f"{len(result.skipped)} recordings could not be used.")
    return " ".join(sentences)


def _facts(result: TrainResult, data: ProjectData) -> Mapping[str, Any]:
    """Plain values for the job's response."""
    left_out = [f"{skip.reference or skip.cell_id}: {skip.reason}" for skip in data.skipped]
    unusable = [f"{clip.id}: {clip.reason}" for clip in result.skipped]
    measured = {} if result.validation_loss is None else {"val_total_loss": result.validation_loss}
    return {
        **measured,
        "best_epoch": result.best_epoch,
        "training_verses": result.training_clips,
        "validation_verses": result.validation_clips,
        "speech_minutes": round(result.speech_s / 60, 2),
        "voice_reference": result.reference,
        "training_verses_skipped": len(left_out) + len(unusable),
        "training_skipped": (unusable + left_out)[:MOST_NAMED],
    }
