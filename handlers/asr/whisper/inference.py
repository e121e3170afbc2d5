"""Recipe: transcribe the project's recorded verses with Whisper, in a language that it knows."""

from __future__ import annotations

from dataclasses import replace

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Purpose, Stage, Utterance
from gitlab_jobs.errors import InvalidJob
from gitlab_jobs.job import JobResult
from handlers import corpus
from handlers.asr.whisper import speakers, subtitles
from handlers.base import Heartbeat
from pipelines.asr.whisper.engine import Listening, open_engine
from pipelines.asr.whisper.files import Result, transcribe_files
from pipelines.asr.whisper.transcript import Transcript
from pipelines.errors import AudioUnreadable

ENGINE = "faster-whisper"


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Transcribe many verses side by side; one unreadable recording does not end the job."""
    job = job_context.job
    if job.model.base_checkpoint:
        raise InvalidJob("Whisper jobs use the worker's own model; leave out base_checkpoint.")
    choice = callbacks.resolve_model("whisper")
    data = corpus.download(callbacks, Purpose.TRANSCRIBE)
    spoken = corpus.spoken(data)
    if not spoken:
        return corpus.nothing_to_do(data)
    with callbacks.stage(Stage.INFER):
        engine = callbacks.load_once(
            open_engine, ENGINE, choice.base, device=choice.device, precision=choice.precision
        )
        usual = Listening(job.language)
        listening = replace(usual, batch_size=choice.share_of(usual.batch_size))
        heartbeat = Heartbeat(callbacks)
        heartbeat(f"Listening with {engine.info}")
        paths = [audio for _, audio in spoken]
        results = list(transcribe_files(engine, paths, listening, heartbeat))
        pairs = list(zip(spoken, results, strict=True))
        heard = [(*one, result) for one, result in pairs if isinstance(result, Transcript)]
        transcripts = [transcript for _, _, transcript in heard]
        if choice.options.get("diarization"):
            recordings = [(audio, transcript) for _, audio, transcript in heard]
            transcripts = list(speakers.named(recordings, choice.device, heartbeat))
    utterances = [utterance for utterance, _, _ in heard]
    subtitles.publish(job_context, callbacks, list(zip(utterances, transcripts, strict=True)))
    return corpus.publish(
        job_context, callbacks, data, [_heard(one, result) for (one, _), result in pairs]
    )


def _heard(utterance: Utterance, result: Result) -> corpus.Heard:
    if isinstance(result, AudioUnreadable):
        problem = f"the recording could not be read: {result.reason}"
        return corpus.Heard(utterance, "", 0.0, (), problem)
    return corpus.Heard(utterance, result.text, result.confidence, result.flags)
