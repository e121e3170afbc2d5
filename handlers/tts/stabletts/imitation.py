"""Whose voice a job imitates: the user's choice, else the voice's own, else a typical recording.

The same every time, so that a second run of a job sounds like the first.
"""

from __future__ import annotations

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Purpose
from handlers import corpus
from handlers.base import Heartbeat
from pipelines.tts.stabletts.dataset import Limits, prepare
from pipelines.tts.stabletts.reference import Reference, choose, hear
from pipelines.tts.stabletts.voice import Voice


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
    clips = corpus.clips(corpus.download(callbacks, Purpose.TRAIN))
    mels = callbacks.get_work_dir() / "mels"
    heartbeat = Heartbeat(callbacks)
    return choose(prepare(clips, voice.vocabulary, Limits(), mels, heartbeat).examples)
