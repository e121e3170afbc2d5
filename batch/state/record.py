"""What is known about one file of a batch, and the form in which the state file keeps it.

Field names in the file are those of version 1 (`uploadId`, `jobId`, `status`, `executionMode`) with more beside
them. Pure: knows no file system.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


class Status(StrEnum):
    """Where a file is; the words stand in the state file."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELED = "canceled"
    MISSING = "missing"
    """It was there in an earlier run."""


REMOTE = "remote"
"""The execution mode of a file that a controller's worker does."""
USER_CANCELED = "USER_CANCELED"
"""The code of a file whose job somebody has canceled."""
RETRYABLE = frozenset(
    {
        "NETWORK_ERROR",
        "OOM_GPU",
        "OOM_HOST",
        "OOM_CGROUP",
        "GPU_LOST",
        "GPU_ERROR",
        "DISK_FULL",
        "NO_PROGRESS",
        "REMOTE_DISPATCH_FAILED",
        "REMOTE_FAILED",
        "REMOTE_WORKER_CAPACITY",
        "REMOTE_WORKER_TIMEOUT",
        "REMOTE_WORKER_UNAUTHORIZED",
        "REMOTE_WORKER_UNREACHABLE",
        "RUNNER_INTERRUPTED",
        "INTERNAL",
    }
)
"""Codes of failures that may not happen again: they are tried once more by the next run."""
MOST_ATTEMPTS = 3
BACK_OFF_S = 15.0
LONGEST_BACK_OFF_S = 300.0

_NAMES = {
    "upload_id": "uploadId",
    "job_id": "jobId",
    "status": "status",
    "execution_mode": "executionMode",
    "path": "path",
    "size": "size",
    "mtime_ns": "mtimeNs",
    "attempts": "attempts",
    "error_code": "lastErrorCode",
    "error_message": "lastErrorMessage",
    "outputs": "outputs",
    "sha256": "sha256",
    "duplicate_of": "duplicateOf",
    "options_hash": "optionsHash",
    "failed_at": "failedAt",
    "audio_s": "audioSeconds",
    "elapsed_s": "elapsedSeconds",
    "sinks": "sinks",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One file's past."""

    status: Status = Status.PENDING
    path: str = ""
    size: int | None = None
    mtime_ns: int | None = None
    attempts: int = 0
    error_code: str | None = None
    error_message: str | None = None
    outputs: tuple[str, ...] = ()
    """Names of the files it became, relative to the output directory."""
    sha256: str = ""
    """Of the recording's bytes when it was done."""
    duplicate_of: str = ""
    """The file of the same bytes whose transcript this one has."""
    options_hash: str = ""
    failed_at: float | None = None
    """In seconds since 1970."""
    audio_s: float = 0.0
    elapsed_s: float = 0.0
    execution_mode: str = "local"
    sinks: Mapping[str, str] = field(default_factory=dict)
    """The sinks that have this transcript: their names, and marks of their options."""
    upload_id: str | None = None
    job_id: str | None = None

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Read one entry of a state file, of either version.

        Raises:
            ValueError: a status that nobody writes.
        """
        values = {name: fields[key] for name, key in _NAMES.items() if key in fields}
        values["status"] = _status(str(values.get("status", Status.PENDING)))
        values["outputs"] = tuple(values.get("outputs", ()))
        return cls(**values)

    @property
    def due_at(self) -> float:
        """When a failed file may be tried again: later after each attempt."""
        pause_s = min(LONGEST_BACK_OFF_S, BACK_OFF_S * 2.0 ** (self.attempts - 1))
        return (self.failed_at or 0.0) + pause_s

    def to_json(self) -> dict[str, Any]:
        """The entry as it stands in the file; what is not known is left out."""
        fields = {key: getattr(self, name) for name, key in _NAMES.items()}
        return {key: value for key, value in fields.items() if value not in (None, "", (), {})}

    @property
    def is_with_controller(self) -> bool:
        """Whether a run has left it to a controller, which may have gone on meanwhile."""
        return self.status is Status.RUNNING and self.execution_mode == REMOTE

    @property
    def is_retryable(self) -> bool:
        """Whether a failed file deserves another run without being asked for."""
        return self.error_code in RETRYABLE and self.attempts < MOST_ATTEMPTS


def _status(word: str) -> Status:
    """Our word; a remote job that waits for a worker is one that nobody has done yet."""
    return Status.PENDING if word in ("queued", "queued_remote") else Status(word)
