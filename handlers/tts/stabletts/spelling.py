"""What a job says about how its language is spelt, in the pipeline's terms.

Most jobs say nothing: then a project's own characters are learnt, and the voice remembers them.
"""

from __future__ import annotations

from gitlab_jobs.job import Job
from pipelines.text.romanize import romanizer
from pipelines.tts.stabletts.text import FrontEnd, TextSettings

PUBLISHED = {front_end.value: front_end for front_end in FrontEnd} | {
    "en": FrontEnd.ENGLISH,
    "zh": FrontEnd.CHINESE,
    "ja": FrontEnd.JAPANESE,
}
"""Words of a job's `language` that mean a front end of the published weights."""


def spelling_of(job: Job) -> TextSettings | None:
    """The front end that a job asks for; None leaves it to the voice or the project."""
    if job.use_uroman:
        return TextSettings(FrontEnd.UROMAN_ENGLISH)
    front_end = PUBLISHED.get((job.language or "").strip().lower())
    return TextSettings(front_end) if front_end else None


def romanize_rare_letters(text: str) -> str:
    """Spell with Latin letters; loads the romaniser at the first rare letter, which few projects have."""
    return romanizer()(text)
