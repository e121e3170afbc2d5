"""Recipe: speak the project's verses that have text and no recording, with a voice trained for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Purpose, Stage
from gitlab_jobs.errors import InvalidJob
from gitlab_jobs.job import JobResult
from handlers import corpus
from handlers.base import Heartbeat
from handlers.tts.stabletts import delivery
from handlers.tts.stabletts.readback import read_back, recogniser_of
from handlers.tts.stabletts.spelling import spelling_of
from pipelines.training.clips import Clip
from pipelines.tts.stabletts.base import find_base
from pipelines.tts.stabletts.dataset import Limits, prepare
from pipelines.tts.stabletts.reference import Reference, choose, hear
from pipelines.tts.stabletts.synthesize import Speaker, SpeakingConfig
from pipelines.tts.stabletts.voice import Voice, load_voice


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Speak with the checkpoint that the job names."""
    checkpoint = job_context.job.model.base_checkpoint
    if not checkpoint:
        raise InvalidJob("This job names no trained voice; train one first, or choose one.")
    return infer(job_context, callbacks, callbacks.download_checkpoint(checkpoint))


def infer(job_context: JobContext, callbacks: JobCallbacks, model: Path) -> JobResult:
    """The inference half, also of `training_and_inference`."""
    job, heartbeat = job_context.job, Heartbeat(callbacks)
    choice = callbacks.resolve_model("stabletts")
    base = find_base(choice.base)
    recogniser = recogniser_of(job, callbacks)
    data = corpus.download(callbacks, Purpose.SPEAK)
    if not data.utterances:
        return delivery.nothing_to_do(data)
    voice = load_voice(model, spelling_of(job))
    facts: dict[str, Any] = {"text_coverage": delivery.coverage(voice.vocabulary, data)}
    reference = somebody_to_imitate(job_context, callbacks, voice)
    with callbacks.stage(Stage.INFER):
        speaker = Speaker(
            voice,
            base.open_vocoder(),
            reference,
            SpeakingConfig(precision=choice.precision),
            device=choice.device,
        )
        spoken = speaker.speak(delivery.verses(data), heartbeat)
        takes = delivery.record(spoken, data, callbacks.get_work_dir() / "takes", job.audio_format)
    if recogniser:
        takes = read_back(takes, recogniser, choice, callbacks)
    facts |= {"voice_reference": reference.id, "vocoder": base.vocoder_name}
    return delivery.publish(job_context, callbacks, data, takes, facts)


def somebody_to_imitate(
    job_context: JobContext, callbacks: JobCallbacks, voice: Voice
) -> Reference:
    """The recording that the user chose, else the one the voice was saved with, else a typical one."""
    chosen = job_context.job.voice_reference
    if chosen:
        base_name = chosen.replace("\\", "/").rsplit("/", 1)[-1]  # the rest may be somebody's home
        return hear(callbacks.download_voice(chosen), base_name)
    if voice.reference is not None:
        return voice.reference
    recorded = corpus.spoken(corpus.download(callbacks, Purpose.TRAIN))
    clips = [Clip(utterance.cell_id, audio, utterance.text) for utterance, audio in recorded]
    mels = callbacks.get_work_dir() / "mels"
    heartbeat = Heartbeat(callbacks)
    return choose(prepare(clips, voice.vocabulary, Limits(), mels, heartbeat).examples)
