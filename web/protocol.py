"""What goes over the wire, for worker and controller alike: requests, states, codes. Knows no server and no store."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

API_VERSION = "1.0"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
FORMATS = ("json", "txt", "formatted", "srt", "vtt", "tsv")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Status(StrEnum):
    """Where a job is."""

    QUEUED_REMOTE = "queued_remote"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self in (Status.COMPLETE, Status.FAILED, Status.CANCELED)


class ErrorCode(StrEnum):
    """Why a remote job waits or failed; the words are those of the state file and of the page."""

    UNAUTHORIZED = "REMOTE_WORKER_UNAUTHORIZED"
    UNREACHABLE = "REMOTE_WORKER_UNREACHABLE"
    TIMEOUT = "REMOTE_WORKER_TIMEOUT"
    CAPACITY = "REMOTE_WORKER_CAPACITY"
    DISPATCH_FAILED = "REMOTE_DISPATCH_FAILED"
    REMOTE_FAILED = "REMOTE_FAILED"
    USER_CANCELED = "USER_CANCELED"


class Wire(BaseModel):
    """A request; fields that nobody knows are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JobOptions(Wire):
    """How to listen; what is left out is the worker's own setting."""

    model: str | None = Field(None, max_length=200)
    language: str | None = Field(None, pattern=r"^[a-z]{2,3}$")
    mode: Literal["batched", "sequential"] = "batched"
    beam: int = Field(5, ge=1, le=20)
    words: bool = True
    diarization: bool = False
    vocabulary: dict[str, Any] | None = None
    """Content of a whisper_vocabulary.json, for the prompt."""


class UploadRequest(Wire):
    """Announces a file; its bytes follow in parts."""

    name: Name
    size: int = Field(gt=0)
    sha256: Sha256


class JobRequest(Wire):
    """Asks for a transcript of an uploaded file."""

    upload_id: str = Field(alias="uploadId", max_length=128)
    name: Name
    options: JobOptions = JobOptions()


def program_version() -> str:
    """The installed version, or a word for none."""
    try:
        return version("scriptorium")
    except PackageNotFoundError:
        return "unknown"


def rfc3339(moment_s: float | None) -> str | None:
    """A Unix time as it stands in answers."""
    if moment_s is None:
        return None
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="milliseconds")
