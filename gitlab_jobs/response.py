"""`response.yaml`: what a worker tells about a job, and the only place that knows its fields.

Reading accepts what any other worker may have written and keeps what it does not understand, so that
writing loses nothing. Knows nothing of leases and stores: who may write is decided elsewhere. Field by
field: `docs/reference/response.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from gitlab_jobs import coerce
from gitlab_jobs.errors import ScriptoriumError
from gitlab_jobs.job import JobState
from gitlab_jobs.yaml_text import YamlRefused, dump_yaml, load_yaml

FORMAT_VERSION = 1
MAX_MESSAGE_CHARS = 2000
MAX_STATUS_CHARS = 300

# Terminal colours; C0 (but tab and newline) and C1 controls; marks that reorder text on a screen.
_UNSAFE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class IllegalTransition(ScriptoriumError):
    """A response that must not follow the one before it: a mistake in the worker, not in a job."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    extra: Mapping[str, Any] = Field(default_factory=dict)
    """Keys that this version does not know, or could not read, kept for writing back."""


class ResponseResult(_Frozen):
    """What a finished job made; `checkpoint_path` is what later jobs name as their base."""

    checkpoint_path: str | None = None


class ResponseProgress(_Frozen):
    """Where a running attempt is: `done` of `total` `unit`s, `rate` of them a second."""

    stage: str | None = None
    percent: float | None = None
    done: int | None = None
    total: int | None = None
    unit: str | None = None
    rate: float | None = None


class Response(_Frozen):
    """One version of a job's `response.yaml`; the order of fields is the order in the file.

    `state` is None where a foreign file has none or an unknown one: such a job is claimed by somebody
    and not finished.
    """

    worker_id: str | None = None
    state: JobState | None = None
    timestamp: datetime | None = None
    epochs_completed: int | None = None
    expected_completion: datetime | None = None
    status_message: str | None = None
    error_message: str | None = None
    termination_reason: str | None = None
    retry_count: int | None = None
    result: ResponseResult | None = None
    claim: str | None = None
    lease: str | None = None
    lease_n: int | None = None
    boot_id: str | None = None
    attempt: int | None = None
    lease_seconds: int | None = None
    error_code: str | None = None
    progress: ResponseProgress | None = None
    version: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether no attempt may follow."""
        return self.state is not None and self.state.is_final


def parse_response(content: bytes) -> Response | None:
    """Read a response; None for anything that is not a mapping with keys in readable YAML."""
    try:
        document = load_yaml(content)
    except YamlRefused:
        return None
    if not isinstance(document, dict) or not document:
        return None
    return Response(**_read(_RESPONSE_READERS, document))


def dump_response(response: Response) -> bytes:
    """Write a response; absent fields are omitted, texts made fit for a tooltip.

    Foreign keys follow our own and never replace them.
    """
    return dump_yaml(_written(response))


def check_transition(old: Response | None, new: Response) -> None:
    """Refuse a response that may not follow another one.

    A job is claimed, canceled or failed from pending; while running it may change freely but keeps its
    epochs (the editor remembers nothing); a final state may be repeated but never left.

    Raises:
        IllegalTransition: with both states.
    """
    if new.state is None:
        raise IllegalTransition("a response of ours must have a state")
    if old is None:
        if new.state is JobState.COMPLETED:
            raise IllegalTransition("a job cannot be completed before it was claimed")
        return
    if old.is_final and new.state is not old.state:
        raise IllegalTransition(f"a {old.state} job cannot become {new.state}")
    same_attempt = old.claim == new.claim and old.attempt == new.attempt
    if same_attempt and old.epochs_completed is not None and new.epochs_completed is None:
        raise IllegalTransition("epochs_completed must keep its last value")
    if (new.retry_count or 0) < (old.retry_count or 0):
        raise IllegalTransition(f"retry_count fell from {old.retry_count} to {new.retry_count}")


def safe_message(text: str, max_chars: int = MAX_MESSAGE_CHARS) -> str:
    """Text fit for a tooltip: no control characters, bounded; tabs and line ends stay."""
    cleaned = _UNSAFE.sub("", text.replace("\r\n", "\n")).strip()
    return cleaned if len(cleaned) <= max_chars else f"{cleaned[: max_chars - 1]}…"


_Readers = Mapping[str, Callable[[Any], Any]]


def _state(value: Any) -> JobState | None:
    try:
        return None if value is None else JobState(value)
    except ValueError as error:
        raise coerce.Unfit("must be a state") from error


_RESULT_READERS: _Readers = {"checkpoint_path": coerce.text}
_PROGRESS_READERS: _Readers = {
    "stage": coerce.text,
    "percent": coerce.number,
    "done": coerce.whole_number,
    "total": coerce.whole_number,
    "unit": coerce.text,
    "rate": coerce.number,
}
_RESPONSE_READERS: _Readers = {
    "worker_id": coerce.text,
    "state": _state,
    "timestamp": coerce.instant,
    "epochs_completed": coerce.whole_number,
    "expected_completion": coerce.instant,
    "status_message": coerce.text,
    "error_message": coerce.text,
    "termination_reason": coerce.text,
    "retry_count": coerce.whole_number,
    "result": lambda value: _section(ResponseResult, _RESULT_READERS, value),
    "claim": coerce.text,
    "lease": coerce.text,
    "lease_n": coerce.whole_number,
    "boot_id": coerce.text,
    "attempt": coerce.whole_number,
    "lease_seconds": coerce.whole_number,
    "error_code": coerce.text,
    "progress": lambda value: _section(ResponseProgress, _PROGRESS_READERS, value),
    "version": coerce.whole_number,
}


def _read(readers: _Readers, document: Mapping[Any, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, value in document.items():
        try:
            values[key] = readers[key](value)
        except (KeyError, coerce.Unfit):
            extra[str(key)] = value
    return {**values, "extra": extra}


def _section(model: type[_Frozen], readers: _Readers, value: Any) -> _Frozen | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise coerce.Unfit("must be a mapping")
    return model(**_read(readers, value))


_MESSAGE_LIMITS = {"error_message": MAX_MESSAGE_CHARS, "status_message": MAX_STATUS_CHARS}


def _written(part: _Frozen) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in type(part).model_fields:
        value = getattr(part, name)
        if value is None or name == "extra":
            continue
        if isinstance(value, _Frozen):
            value = _written(value)
        elif name in _MESSAGE_LIMITS:
            value = safe_message(value, _MESSAGE_LIMITS[name])
        if value not in ("", {}):
            values[name] = value
    return values | {key: value for key, value in part.extra.items() if key not in values}
