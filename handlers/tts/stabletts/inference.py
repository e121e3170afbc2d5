"""Recipe: speak the project's verses that have text and no recording, with a voice trained for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Purpose, Stage
from gitlab_jobs.errors import InvalidJob
from gitlab_jobs.job import JobResult
from handlers import corpus
from handlers.base import Heartbeat
from handlers.publishing import publish_report
from handlers.tts.stabletts import delivery, report
from handlers.tts.stabletts.imitation import somebody_to_imitate
from handlers.tts.stabletts.readback import read_back, recogniser_of
from handlers.tts.stabletts.recipe import speaking_config
from handlers.tts.stabletts.spelling import open_voice
from pipelines.report.parts import Part
from pipelines.tts.stabletts.base import Base, find_base
from pipelines.tts.stabletts.synthesize import Speaker


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Speak with the checkpoint that the job names."""
    checkpoint = job_context.job.model.base_checkpoint
    if not checkpoint:
        raise InvalidJob("This job names no trained voice; train one first, or choose one.")
    return infer(job_context, callbacks, callbacks.download_checkpoint(checkpoint))


def infer(
    job_context: JobContext, callbacks: JobCallbacks, model: Path, earlier: Sequence[Part] = ()
) -> JobResult:
    """The inference half, also of `training_and_inference`; `earlier` parts open the report."""
    job, heartbeat = job_context.job, Heartbeat(callbacks)
    choice = callbacks.resolve_model("stabletts")
    base = find_base(choice.base)
    recogniser = recogniser_of(job, callbacks)
    data = corpus.download(callbacks, Purpose.SPEAK)
    if not data.utterances:
        return delivery.nothing_to_do(data)
    voice = open_voice(model, job, callbacks)
    covered = delivery.coverage(voice.vocabulary, data)
    reference = somebody_to_imitate(job_context, callbacks, voice)
    with callbacks.stage(Stage.INFER):
        speaker = Speaker(
            voice,
            callbacks.load_once(Base.open_vocoder, base),
            reference,
            speaking_config(choice),
            device=choice.device,
        )
        spoken = speaker.speak(delivery.verses(data), heartbeat)
        takes = delivery.record(spoken, data, callbacks.get_work_dir() / "takes", job.audio_format)
    if recogniser:
        takes = read_back(takes, recogniser, choice, callbacks)
    speaking = delivery.Speaking(reference, base.vocoder_name, covered)
    result = delivery.publish(job_context, callbacks, data, takes, speaking.facts)
    parts = (*earlier, *report.of_speaking(takes, speaking, data))
    publish_report(job_context, callbacks, result.summary or "", parts)
    return result
