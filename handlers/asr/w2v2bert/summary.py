"""What a finished training says about itself: one or two sentences, and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitlab_jobs.callbacks import ProjectData
from gitlab_jobs.job import Job
from handlers.corpus import MOST_NAMED
from pipelines.asr.corrector.proof import Proof
from pipelines.asr.w2v2bert.train import TrainResult


def training_summary(job: Job, result: TrainResult) -> str:
    """Sentences for the user; no number is better than it was measured to be."""
    minutes = result.speech_s / 60
    sentences = [f"Trained on {result.training_clips} recordings ({minutes:.1f} min of speech)."]
    if result.validation_cer is not None:
        sentences.append(
            f"On {result.validation_clips} verses that it had not seen, {result.validation_cer:.1%} "
            f"of the characters and {result.validation_wer:.1%} of the words were wrong."
        )
    elif result.train_cer is not None:
        sentences.append(
            f"It gets {result.train_cer:.1%} of the characters of its own training verses wrong; "
            "there were too few verses to measure it on unseen ones."
        )
    if job.transmorgrifier:
        sentences.append(_about_corrector(result.proof))
    return " ".join(sentences)


def _about_corrector(proof: Proof) -> str:
    before, after = proof.cer_before, proof.cer_after
    if before is None or after is None:
        return "There is too little text to learn to correct from."
    if proof.corrector is None:
        return f"The text corrector was left out: it makes {after:.1%} wrong characters out of {before:.1%}."
    return (
        f"The text corrector restores capitals and punctuation: {after:.1%} of all characters are "
        f"wrong with it, {before:.1%} without."
    )


def training_facts(result: TrainResult, data: ProjectData) -> Mapping[str, Any]:
    """Plain values for the job's response."""
    left_out = [f"{skip.reference or skip.cell_id}: {skip.reason}" for skip in data.skipped]
    unusable = [f"{clip.id}: {clip.reason}" for clip in result.skipped]
    rates = {
        "train_cer": result.train_cer,
        "validation_cer": result.validation_cer,
        "validation_wer": result.validation_wer,
        "validation_cer_without_language_model": result.greedy_cer,
        "confidence_correlation": result.confidence_correlation,
        "written_cer": result.proof.cer_before,
        "written_cer_corrected": result.proof.cer_after,
    }
    return {
        **{name: round(rate, 4) for name, rate in rates.items() if rate is not None},
        "best_epoch": result.best_epoch,
        "training_verses": result.training_clips,
        "validation_verses": result.validation_clips,
        "speech_minutes": round(result.speech_s / 60, 2),
        "training_verses_skipped": len(left_out) + len(unusable),
        "training_skipped": (unusable + left_out)[:MOST_NAMED],
    }
