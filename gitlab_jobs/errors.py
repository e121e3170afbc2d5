"""Everything that can go wrong around a job, sorted by whose fault it is.

Knows no transport and no format: adapters translate their own failures into these.

    ScriptoriumError
    ├─ ConfigError              wrong settings: the daemon exits, systemd does not restart it
    ├─ StoreError
    │  ├─ Unavailable           nothing was changed; trying again later may work
    │  │  └─ OutcomeUnknown     the change may or may not have happened: read back, then decide
    │  ├─ Denied                the credential is refused (401)
    │  ├─ Forbidden             this project or branch refuses us (403, archived, protected)
    │  ├─ TooLarge              the request holds more than the server takes: send less at once
    │  ├─ Missing               a path, project or object is not there
    │  ├─ AlreadyExists         a path that had to be absent is there (claim lost)
    │  ├─ Conflict              somebody moved the branch or the file: read again, apply again
    │  └─ LeaseLost             the job is not ours any more: write nothing, ever
    ├─ ManifestError            the whole manifest is unreadable: that project is skipped and named
    └─ JobError                 the job's own fault: `failed`, with words for a translator
       ├─ InvalidJob
       ├─ UnsafePath
       ├─ HandlerNotFound
       ├─ HandlerContractError
       └─ JobTimeout
    JobCanceledException        control flow, not an error: a handler's `except Exception` misses it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitlab_jobs.job import CancelReason


class ScriptoriumError(Exception):
    """Root of every error this project raises on purpose."""

    code = "INTERNAL"


class ConfigError(ScriptoriumError):
    """The daemon was started wrongly; `hint` says what to do about it."""

    code = "CONFIG"

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 78) -> None:
        """Keep the remedy and the exit code (`docs/reference/exit-codes.md`) with the message."""
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


class StoreError(ScriptoriumError):
    """A project's repository could not be read or written."""

    code = "NETWORK_ERROR"


class Unavailable(StoreError):
    """A passing fault; nothing was changed."""


class OutcomeUnknown(Unavailable):
    """The reply to a write was lost: the commit may exist."""


class Denied(StoreError):
    """The credential is refused; no further request may be sent with it."""

    code = "AUTH_FAILED"


class Forbidden(StoreError):
    """The account may not do this in this project."""

    code = "FORBIDDEN"


class TooLarge(StoreError):
    """One request held more than the server, or a proxy before it, takes (413)."""

    code = "TOO_LARGE"


class Missing(StoreError):
    """A path, project or object does not exist (or is invisible to us)."""

    code = "INPUT_MISSING"


class AlreadyExists(StoreError):
    """A path that had to be absent exists."""


class Conflict(StoreError):
    """The branch or the file moved between reading and writing."""

    code = "PUBLISH_CONFLICT"


class LeaseLost(StoreError):
    """The job is not ours any more; `reason` tells a take-over from a deleted job folder."""

    code = "CLAIM_LOST"

    def __init__(self, reason: CancelReason) -> None:
        """Keep the reason: it becomes the attempt's."""
        super().__init__(reason.value)
        self.reason = reason


class ManifestError(ScriptoriumError):
    """A manifest that cannot be read as a whole."""

    code = "MANIFEST_INVALID"


class JobError(ScriptoriumError):
    """The job's own fault; the message is shown to a translator."""

    code = "HANDLER_ERROR"


class InvalidJob(JobError):
    """A manifest entry that cannot be run as it stands."""

    code = "MANIFEST_INVALID"


class UnsafePath(JobError):
    """A path from a repository that leaves the places it may name."""

    code = "INPUT_INVALID"


class HandlerNotFound(JobError):
    """No handler file serves this type, model and mode."""

    code = "MODEL_UNKNOWN"


class HandlerContractError(JobError):
    """A handler module without `run`, or one that returned something else than a result."""


class JobTimeout(JobError):
    """The job's own deadline has passed."""

    code = "DEADLINE_EXCEEDED"


class JobCanceledException(BaseException):
    """Raised at a handler's next callback once the job must stop; carries the reason."""

    def __init__(self, reason: CancelReason) -> None:
        """Remember why, since a user's cancel and a lost lease end differently."""
        super().__init__(reason.value)
        self.reason = reason
