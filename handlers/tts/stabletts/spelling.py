"""What a job says about how its language is spelt and read, in the pipeline's terms.

Most jobs say nothing: then a project's own characters are learnt, and the voice remembers them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gitlab_jobs.callbacks import JobCallbacks
from gitlab_jobs.errors import InvalidJob
from gitlab_jobs.job import Job
from pipelines.text.romanize import romanizer
from pipelines.tts.stabletts.text import FrontEnd, TextSettings
from pipelines.tts.stabletts.voice import Voice, load_voice

DIGITS, REPLACEMENTS, KEEP_CASE = "digits", "replacements", "keep_case"
PUBLISHED = {front_end.value: front_end for front_end in FrontEnd} | {
    "en": FrontEnd.ENGLISH,
    "zh": FrontEnd.CHINESE,
    "ja": FrontEnd.JAPANESE,
}
"""Words of a job's `language` that mean a front end of the published weights."""


def spelling_of(job: Job) -> TextSettings | None:
    """The spelling that a voice is to be trained with; None leaves it to an earlier voice or the project.

    Raises:
        InvalidJob: A table of readings is none.
    """
    wishes: dict[str, Any] = {
        "front_end": _front_end(job),
        "keep_case": _switch(job, KEEP_CASE),
        "replacements": _table(job, REPLACEMENTS),
        "digits": _table(job, DIGITS),
    }
    named = {name: wish for name, wish in wishes.items() if wish is not None}
    return TextSettings(**named) if named else None


def open_voice(path: Path, job: Job, callbacks: JobCallbacks) -> Voice:
    """Load a voice to speak with: it keeps its spelling, and learns readings of numbers that a job adds.

    Raises:
        BadCheckpoint: The file is no voice.
        InvalidJob: The job asks for a spelling that the voice was not trained with.
    """
    voice = callbacks.load_once(_load, path, _front_end(job))
    stored = voice.vocabulary.settings
    wanted = spelling_of(job) or stored
    for key in (REPLACEMENTS, KEEP_CASE):
        if key in job.extra and getattr(wanted, key) != getattr(stored, key):
            raise InvalidJob(f"{key} belongs to the training: this voice was trained without it.")
    told = replace(stored, digits={**stored.digits, **(_table(job, DIGITS) or {})})
    return replace(voice, vocabulary=replace(voice.vocabulary, settings=told))


def romanize_rare_letters(text: str) -> str:
    """Spell with Latin letters; loads the romaniser at the first rare letter, which few projects have."""
    return romanizer()(text)


def _load(path: Path, front_end: FrontEnd | None) -> Voice:
    return load_voice(path, TextSettings(front_end) if front_end else None)


def _front_end(job: Job) -> FrontEnd | None:
    if job.use_uroman:
        return FrontEnd.UROMAN_ENGLISH
    return PUBLISHED.get((job.language or "").strip().lower())


def _switch(job: Job, key: str) -> bool | None:
    value = job.extra.get(key)
    if value is not None and not isinstance(value, bool):
        raise InvalidJob(f"{key} must be true or false.")
    return value


def _table(job: Job, key: str) -> dict[str, str] | None:
    """A table of what is written → what is said; YAML reads unquoted numbers as numbers."""
    value = job.extra.get(key)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidJob(f"{key} must be a table of what is written and what is said for it.")
    table = {str(written): said for written, said in value.items()}
    if not all(written and isinstance(said, str) for written, said in table.items()):
        raise InvalidJob(f"{key} must give a text for every sign: 3: three")
    return table
