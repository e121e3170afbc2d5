"""Recipe: transcribe the project's recorded verses with a recogniser that was trained for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Purpose, Stage
from gitlab_jobs.errors import InvalidJob
from gitlab_jobs.job import JobResult
from handlers import corpus
from handlers.asr.w2v2bert.checkpoint import open_transcriber
from handlers.base import Heartbeat
from pipelines.asr.w2v2bert.transcribe import Recording
from pipelines.report.parts import Part


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Transcribe with the checkpoint that the job names."""
    checkpoint = job_context.job.model.base_checkpoint
    if not checkpoint:
        raise InvalidJob("This job names no trained model; train one first, or choose one.")
    return infer(job_context, callbacks, callbacks.download_checkpoint(checkpoint))


def infer(
    job_context: JobContext,
    callbacks: JobCallbacks,
    model: Path,
    earlier: Sequence[Part] = (),
) -> JobResult:
    """The inference half, also of `training_and_inference`; `earlier` parts open the report."""
    choice = callbacks.resolve_model("w2v2bert")
    data = corpus.download(callbacks, Purpose.TRANSCRIBE)
    spoken = corpus.spoken(data)
    if not spoken:
        return corpus.nothing_to_do(data)
    with callbacks.stage(Stage.INFER):
        transcriber = callbacks.load_once(open_transcriber, model, choice)
        recordings = [Recording(utterance.cell_id, audio) for utterance, audio in spoken]
        results = transcriber.transcribe(recordings, Heartbeat(callbacks))
        heard = [
            corpus.Heard(
                utterance,
                result.text,
                result.confidence,
                result.flags,
                result.problem,
                result.heard if result.heard != result.text else "",
            )
            for (utterance, _), result in zip(spoken, results, strict=True)
        ]
    return corpus.publish(job_context, callbacks, data, heard, earlier)
