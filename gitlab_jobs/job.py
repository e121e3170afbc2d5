"""What a job is: one manifest entry, checked and immutable.

Knows nothing of YAML, GitLab or files. `manifest` builds these; everything else reads them. They are
plain data (`model_dump(mode="json")`), so that a job can cross into a child process.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class JobType(StrEnum):
    """What kind of model a job concerns."""

    TTS = "tts"
    ASR = "asr"


class Mode(StrEnum):
    """What a job does with its model."""

    TRAINING = "training"
    INFERENCE = "inference"
    TRAINING_AND_INFERENCE = "training_and_inference"

    @property
    def trains(self) -> bool:
        """Whether the job makes a new checkpoint."""
        return self is not Mode.INFERENCE

    @property
    def infers(self) -> bool:
        """Whether the job writes into cells."""
        return self is not Mode.TRAINING


class JobState(StrEnum):
    """The states of `response.yaml`; a job without that file is pending."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether no attempt may follow."""
        return self is not JobState.RUNNING


class CancelReason(StrEnum):
    """Why a running attempt must stop; the words of `termination_reason`."""

    USER_CANCELED = "user_canceled"
    JOB_REMOVED = "job_removed"
    FOLDER_DELETED = "folder_deleted"
    TIMEOUT = "timeout"
    LEASE_LOST = "lease_lost"
    SHUTDOWN = "shutdown"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSpec(_Frozen):
    """Which model family a job wants and what it starts from.

    `base_checkpoint` is a repository path under `gpu_jobs/`, copied from an earlier job's result.
    """

    type: str
    base_checkpoint: str | None = None


class VerseFilter(_Frozen):
    """Cell ids or references to take or to leave; both empty means no filter at all."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether every cell passes."""
        return not self.include and not self.exclude


class Job(_Frozen):
    """One entry of `gpu_jobs/manifest.yaml`; field meanings are in `docs/reference/manifest.md`."""

    job_id: str
    job_type: JobType
    mode: Mode
    model: ModelSpec
    submitted_at: datetime | None = None
    name: str | None = None
    description: str | None = None
    epochs: int | None = Field(default=None, ge=1)
    training: VerseFilter = VerseFilter()
    inference: VerseFilter = VerseFilter()
    voice_reference: str | None = None
    transmorgrifier: bool | None = None
    audio_format: str = "webm"
    language: str | None = None
    use_uroman: bool | None = None
    batch_size: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    val_split: float | None = Field(default=None, ge=0, lt=1)
    save_interval: int | None = Field(default=None, ge=1)
    priority: int = 0
    timeout: datetime | None = None
    canceled: bool = False
    extra: Mapping[str, Any] = Field(default_factory=dict)


class JobResult(_Frozen):
    """What a handler returns when its work is done.

    `checkpoint_path` is the repository path of the new model (training modes); `summary` is one
    sentence for the user; `facts` are extra plain values for `result` in `response.yaml`.
    """

    checkpoint_path: str | None = None
    epochs_completed: int | None = None
    summary: str | None = None
    facts: Mapping[str, Any] = Field(default_factory=dict)
