"""Takes read back by a recogniser of the same project: a job's `check_with` names its model.

A number for people who sort their listening; it stops nothing. Knows no voice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, ModelChoice, Stage
from gitlab_jobs.errors import InvalidJob
from gitlab_jobs.job import Job
from handlers.base import Heartbeat
from handlers.tts.stabletts.delivery import Take
from pipelines.text.metrics import spoken_error_rates

KEY = "check_with"
DOUBTFUL_CER = 0.3
"""Above it somebody should listen, be it for the voice's sake or the recogniser's."""


def recogniser_of(job: Job, callbacks: JobCallbacks) -> Path | None:
    """Fetch the recogniser that a job names; asked first, so that a wrong name costs no work.

    Raises:
        InvalidJob: it is no path, or this worker cannot recognise speech.
    """
    named = job.extra.get(KEY)
    if named is None:
        return None
    if not isinstance(named, str):
        raise InvalidJob(f"{KEY} must be the path of a trained recogniser.")
    try:
        import handlers.asr.w2v2bert.checkpoint  # noqa: F401 - only looked for
    except ImportError as error:  # loads what only recognition needs
        raise InvalidJob(f"This worker cannot recognise speech; leave out {KEY}.") from error
    return callbacks.download_checkpoint(named)


def read_back(
    takes: Sequence[Take], recogniser: Path, choice: ModelChoice, callbacks: JobCallbacks
) -> list[Take]:
    """Return the takes with the share of characters that the recogniser heard otherwise."""
    with callbacks.stage(Stage.EVALUATE):
        return list(_judged(takes, recogniser, choice, callbacks))


def _judged(
    takes: Sequence[Take], recogniser: Path, choice: ModelChoice, callbacks: JobCallbacks
) -> Iterator[Take]:
    from handlers.asr.w2v2bert.checkpoint import open_transcriber
    from pipelines.asr.w2v2bert.transcribe import Recording

    own_choice = replace(choice, precision="auto")
    transcriber = callbacks.load_once(open_transcriber, recogniser, own_choice)
    files = [Recording(take.utterance.cell_id, take.audio.path) for take in takes if take.audio]
    heard = transcriber.transcribe(files, Heartbeat(callbacks).saying("Listening to the takes"))
    for take in takes:
        if take.audio is None:
            yield take
        else:
            text = next(heard).text
            rates = spoken_error_rates([take.utterance.text], [text])
            flags = take.flags
            if rates.cer > DOUBTFUL_CER:
                flags = (*flags, f"a recogniser heard {rates.cer:.0%} of it otherwise")
            yield replace(take, cer=rates.cer, heard=text, flags=flags)
