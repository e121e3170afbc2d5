"""`gpu_jobs/manifest.yaml` to jobs: tolerant of what people and older editors write.

Only a document that cannot be read as a manifest at all is an error. One bad entry spoils itself and
nothing else, and its id is still known, so that it is never mistaken for a job that was removed.
Knows nothing of responses, claims or handlers: whether a model name is served, and whether a
checkpoint path is safe, is found out where it is used. Field by field: `docs/reference/manifest.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from gitlab_jobs import coerce
from gitlab_jobs.errors import InvalidJob, ManifestError
from gitlab_jobs.job import Job, JobType, Mode, ModelSpec, VerseFilter
from gitlab_jobs.paths import is_safe_job_id
from gitlab_jobs.yaml_text import YamlRefused, load_yaml

SUPPORTED_VERSION = 1
AUDIO_FORMATS = ("webm", "ogg", "mp3", "wav")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ManifestProblem:
    """An entry that cannot be run.

    `job_id` is set only if a `failed` response may be written for it: it is safe in a path, and no
    earlier entry has it. `position` counts from 1. `canceled` tells that the user gave it up anyway.
    """

    job_id: str | None
    position: int
    message: str
    canceled: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says; `ids` has every entry's id, also of entries that are problems."""

    version: int
    jobs: tuple[Job, ...]
    problems: tuple[ManifestProblem, ...]
    ids: frozenset[str]


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: if it is not a version 1 manifest as a whole. That is never to be taken for
            the removal of a job.
    """
    entries = _entries(content)
    jobs: list[Job] = []
    problems: list[ManifestProblem] = []
    ids: set[str] = set()
    for position, entry in enumerate(entries, start=1):
        try:
            job_id = _job_id(entry)
        except InvalidJob as error:
            problems.append(ManifestProblem(None, position, str(error)))
            continue
        if job_id in ids:
            message = f"job_id {job_id!r} appears twice; the first entry counts"
            problems.append(ManifestProblem(None, position, message))
            continue
        ids.add(job_id)
        if not is_safe_job_id(job_id):
            message = f"job_id {job_id[:100]!r} cannot be used as a folder name"
            problems.append(ManifestProblem(None, position, message))
            continue
        try:
            jobs.append(_job(job_id, entry))
        except InvalidJob as error:
            canceled = entry.get("canceled") is True
            problems.append(ManifestProblem(job_id, position, str(error), canceled))
    return Manifest(SUPPORTED_VERSION, tuple(jobs), tuple(problems), frozenset(ids))


def order_key(job: Job) -> tuple[bool, datetime, str]:
    """Sort key for first come, first served: jobs without a date last, equals by id."""
    submitted = job.submitted_at
    return (submitted is None, submitted or datetime.max.replace(tzinfo=UTC), job.job_id)


def _entries(content: bytes) -> list[Any]:
    try:
        document = load_yaml(content)
    except YamlRefused as error:
        raise ManifestError(f"the manifest cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ManifestError("the manifest is empty or not a mapping")
    version = document.get("version")
    if isinstance(version, bool) or version != SUPPORTED_VERSION:
        raise ManifestError(f"the manifest's version is {version!r}, this worker reads 1")
    jobs = document.get("jobs")
    if not isinstance(jobs, list):
        raise ManifestError("the manifest's jobs are not a list")
    return jobs


def _job_id(entry: Any) -> str:
    if not isinstance(entry, dict):
        raise InvalidJob("the entry is not a mapping")
    value = entry.get("job_id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise InvalidJob("job_id is missing or not text")
    return value


def _job(job_id: str, entry: Mapping[Any, Any]) -> Job:
    fields = _Fields(entry)
    model = fields.section("model")
    inference = fields.section("inference")
    values: dict[str, Any] = {
        "job_id": job_id,
        "job_type": fields.one_of("job_type", [kind.value for kind in JobType]),
        "mode": fields.one_of("mode", [mode.value for mode in Mode]),
        "model": ModelSpec(
            type=model.required("type", coerce.text),
            base_checkpoint=model.optional("base_checkpoint", coerce.text),
        ),
        "submitted_at": fields.lenient("submitted_at", coerce.instant),
        "name": fields.lenient("name", coerce.text),
        "description": fields.lenient("description", coerce.text),
        "epochs": fields.optional("epochs", coerce.whole_number),
        "training": fields.section("training").verse_filter(),
        "inference": inference.verse_filter(),
        "voice_reference": fields.optional("voice_reference", coerce.text),
        "transmorgrifier": _transmorgrifier(fields),
        "audio_format": _audio_format(fields, inference),
        "language": fields.optional("language", coerce.text),
        "use_uroman": fields.optional("use_uroman", coerce.switch),
        "batch_size": fields.optional("batch_size", coerce.whole_number),
        "learning_rate": fields.optional("learning_rate", coerce.number),
        "val_split": fields.optional("val_split", coerce.number),
        "save_interval": fields.optional("save_interval", coerce.whole_number),
        "priority": fields.lenient("priority", coerce.whole_number) or 0,
        "timeout": fields.optional("timeout", coerce.instant),
        "canceled": fields.optional("canceled", coerce.switch) or False,
    }
    values["extra"] = {str(key): value for key, value in entry.items() if key not in values}
    try:
        return Job.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InvalidJob(f"{name}: {first['msg']}, got {first['input']!r:.100}") from error


def _transmorgrifier(fields: _Fields) -> bool | None:
    if isinstance(fields.values.get("transmorgrifier"), bool):
        return fields.optional("transmorgrifier", coerce.switch)
    return fields.section("transmorgrifier").optional("enabled", coerce.switch)


def _audio_format(fields: _Fields, inference: _Fields) -> str:
    for section in (inference, fields):
        if section.values.get("audio_format") is not None:
            return section.one_of("audio_format", AUDIO_FORMATS)
    return AUDIO_FORMATS[0]


class _Fields:
    """One mapping of an entry, read field by field with the field's name in every complaint."""

    def __init__(self, values: Mapping[Any, Any], name: str = "") -> None:
        self.values = values
        self._prefix = f"{name}." if name else ""

    def section(self, name: str) -> _Fields:
        value = self.values.get(name)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise InvalidJob(f"{name} must be a mapping, got {value!r:.100}")
        return _Fields(value, name)

    def optional(self, name: str, read: Callable[[Any], T | None]) -> T | None:
        value = self.values.get(name)
        try:
            return read(value)
        except coerce.Unfit as error:
            raise InvalidJob(f"{self._prefix}{name} {error}, got {value!r:.100}") from error

    def required(self, name: str, read: Callable[[Any], T | None]) -> T:
        value = self.optional(name, read)
        if value is None:
            raise InvalidJob(f"{self._prefix}{name} is missing")
        return value

    def lenient(self, name: str, read: Callable[[Any], T | None]) -> T | None:
        """Read a field whose loss does no harm: anything unfit counts as absent."""
        try:
            return read(self.values.get(name))
        except coerce.Unfit:
            return None

    def one_of(self, name: str, choices: list[str] | tuple[str, ...]) -> str:
        word = self.required(name, coerce.text).casefold()
        if word not in choices:
            raise InvalidJob(
                f"{self._prefix}{name} must be one of {', '.join(choices)}, got {word!r:.100}"
            )
        return word

    def verse_filter(self) -> VerseFilter:
        return VerseFilter(
            include=self._verses("include_verses"), exclude=self._verses("exclude_verses")
        )

    def _verses(self, name: str) -> tuple[str, ...]:
        value = self.values.get(name)
        entries = value if isinstance(value, list) else [] if value is None else [value]
        verses = []
        for entry in entries:
            # A lost entry could turn "these verses" into "all verses", so nothing is skipped here.
            if isinstance(entry, bool) or not isinstance(entry, str | int) or entry == "":
                raise InvalidJob(f"{self._prefix}{name} must list verses, got {entry!r:.100}")
            verses.append(str(entry).strip())
        return tuple(dict.fromkeys(verses))
