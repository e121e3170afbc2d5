"""What `submit` and `cancel` do to a manifest: the same edits, in the same form, as the editor's plugin makes.

Appends an entry or sets a flag and keeps everything else as it was read (comments are lost, as there).
Knows no command line and no output.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import Any

from gitlab_jobs.errors import InvalidJob, ManifestError
from gitlab_jobs.job import JobType, Mode
from gitlab_jobs.lease import Patience
from gitlab_jobs.manifest import parse_manifest
from gitlab_jobs.paths import MANIFEST_PATH
from gitlab_jobs.store import Create, ProjectStore, Update
from gitlab_jobs.yaml_text import dump_yaml, load_yaml

PATIENCE_S = 30.0
RANDOM_DIGITS = 11
DEFAULT_EPOCHS = 100
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a person asks for; the names are those of the manifest."""

    job_type: str
    mode: str
    model: str
    name: str | None = None
    description: str | None = None
    base_checkpoint: str | None = None
    epochs: int | None = None
    include_verses: Sequence[str] = ()
    exclude_verses: Sequence[str] = ()
    voice_reference: str | None = None
    transmorgrifier: bool = False


def new_entry(wanted: NewJob, now: datetime) -> dict[str, Any]:
    """The manifest entry, its keys in the plugin's order; what does not apply is left out.

    Raises:
        InvalidJob: in words for the person.
    """
    if wanted.include_verses and wanted.exclude_verses:
        raise InvalidJob("name verses to include or to exclude, not both")
    mode = Mode(wanted.mode)
    if mode is Mode.INFERENCE and not wanted.base_checkpoint:
        raise InvalidJob("inference needs the model of an earlier job: --base-checkpoint")
    trains_asr = mode.trains and wanted.job_type == JobType.ASR
    verses = _verses(wanted)
    entry: dict[str, Any] = {
        "job_id": new_job_id(now),
        "name": wanted.name,
        "description": wanted.description,
        "job_type": wanted.job_type,
        "mode": wanted.mode,
        "submitted_at": f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
        "model": _present({"type": wanted.model, "base_checkpoint": wanted.base_checkpoint}),
        "epochs": (wanted.epochs or DEFAULT_EPOCHS) if mode.trains else None,
        "training": verses if mode.trains and not mode.infers else None,
        "inference": verses if mode.infers else None,
        "voice_reference": wanted.voice_reference,
        "transmorgrifier": {"enabled": wanted.transmorgrifier} if trains_asr else None,
        "canceled": False,
    }
    return _present(entry)


def new_job_id(now: datetime) -> str:
    """Milliseconds since 1970 and some luck, both in base 36: the plugin's form."""
    luck = "".join(secrets.choice(_DIGITS) for _ in range(RANDOM_DIGITS))
    return f"{_base36(int(now.timestamp() * 1000))}_{luck}"


def submit(store: ProjectStore, entry: Mapping[str, Any]) -> None:
    """Append an entry to the project's manifest, which is made if there is none."""

    def append(document: dict[str, Any]) -> None:
        document["jobs"] = [*document["jobs"], entry]

    _edit(store, append, f"Submit job {entry['job_id']}")


def cancel(store: ProjectStore, job_id: str) -> None:
    """Ask the worker to stop a job, or not to start it.

    Raises:
        InvalidJob: there is no such entry.
    """

    def mark(document: dict[str, Any]) -> None:
        found = [
            entry
            for entry in document["jobs"]
            if isinstance(entry, dict) and str(entry.get("job_id")) == job_id
        ]
        if not found:
            raise InvalidJob(f"there is no job {job_id} in {store.project.path}")
        found[0]["canceled"] = True

    _edit(store, mark, f"Cancel job {job_id}")


def _edit(store: ProjectStore, change: Callable[[dict[str, Any]], None], message: str) -> None:
    """Change the newest manifest; again from the start if somebody else was faster."""
    for attempt in Patience(PATIENCE_S, Event()).attempts():
        with attempt:
            found = store.read([MANIFEST_PATH]).get(MANIFEST_PATH)
            document = _document(found.content) if found else {"version": 1, "jobs": []}
            change(document)
            content = dump_yaml(document)
            if found is None:
                store.commit([Create(MANIFEST_PATH, content)], message)
            else:
                store.commit([Update(MANIFEST_PATH, content, found.commit_id)], message)


def _document(content: bytes) -> dict[str, Any]:
    """The manifest as plain data; one that a worker could not read is not written over."""
    parse_manifest(content)
    document = load_yaml(content)
    if not isinstance(document, dict) or not isinstance(document.get("jobs"), list):
        raise ManifestError("the manifest has no list of jobs")
    return document


def _verses(wanted: NewJob) -> dict[str, list[str]] | None:
    lists = {"include_verses": wanted.include_verses, "exclude_verses": wanted.exclude_verses}
    return {name: list(verses) for name, verses in lists.items() if verses} or None


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
