"""Recipe: transcribe the project's recorded verses with Whisper, in a language that it knows."""

from __future__ import annotations

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Purpose, Stage, Utterance
from gitlab_jobs.errors import InvalidJob
from gitlab_jobs.job import JobResult
from handlers import corpus
from handlers.base import Heartbeat
from pipelines.asr.whisper.engine import WhisperEngine
from pipelines.errors import AudioUnreadable


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Transcribe verse by verse; one unreadable recording does not end the job."""
    job = job_context.job
    if job.model.base_checkpoint:
        raise InvalidJob("Whisper jobs use the worker's own model; leave out base_checkpoint.")
    choice = callbacks.resolve_model("whisper")
    data = corpus.download(callbacks, Purpose.TRANSCRIBE)
    spoken = corpus.spoken(data)
    if not spoken:
        return corpus.nothing_to_do(data)
    heartbeat = Heartbeat(callbacks)
    heard = []
    with callbacks.stage(Stage.INFER):
        engine = WhisperEngine(
            choice.base, device=choice.device, precision=choice.precision, language=job.language
        )
        for number, (utterance, audio) in enumerate(spoken, start=1):
            progress = heartbeat.saying(f"Transcribing recording {number} of {len(spoken)}")
            try:
                transcript = engine.transcribe(audio, progress)
            except AudioUnreadable as error:
                heard.append(_unreadable(utterance, error))
                continue
            heard.append(
                corpus.Heard(utterance, transcript.text, transcript.confidence, transcript.flags)
            )
    return corpus.publish(job_context, callbacks, data, heard)


def _unreadable(utterance: Utterance, error: AudioUnreadable) -> corpus.Heard:
    problem = f"the recording could not be read: {error.reason}"
    return corpus.Heard(utterance, "", 0.0, (), problem)
