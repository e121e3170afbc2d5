"""What a handler may ask of the world: the `JobCallbacks` port and the values it speaks in.

Knows no GitLab, no process and no file format. In a child process `child_callbacks` implements it by
asking the supervisor; `testing.HandlerEnvironment` implements it on a plain folder.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeVar

from gitlab_jobs import paths
from gitlab_jobs.codex.changes import CellChange
from gitlab_jobs.job import Job

T = TypeVar("T")


class Stage(StrEnum):
    """Named phases of an attempt, shown to the user and used for deadlines."""

    DOWNLOAD = "download"
    PREPROCESS = "preprocess"
    TRAIN = "train"
    EVALUATE = "evaluate"
    INFER = "infer"
    UPLOAD = "upload"


class Purpose(StrEnum):
    """Which cells a handler needs; the job's filters are applied on top."""

    TRAIN = "train"
    """Cells with usable audio and text written by a person."""
    TRANSCRIBE = "transcribe"
    """Cells with usable audio; without text, unless the job lists them."""
    SPEAK = "speak"
    """Cells with text; without usable audio, unless the job lists them."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One cell, with its plain text and the local file of its current take.

    `text` is empty when there is none; `audio` is None when there is none. `listed` is True when the
    job names this cell itself, which is the user's consent to replace what is there.
    """

    notebook: str
    cell_id: str
    reference: str | None
    text: str
    audio: Path | None
    take_id: str | None
    listed: bool


@dataclass(frozen=True, slots=True)
class Skipped:
    """A cell that was left out, with the reason in words for a translator."""

    cell_id: str
    reference: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProjectData:
    """The cells a job works on, downloaded; `project_texts` is all text a person wrote, per verse."""

    utterances: tuple[Utterance, ...]
    skipped: tuple[Skipped, ...]
    project_texts: tuple[str, ...]


Option = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What a model family starts from on this machine, by the operator's settings.

    `base` is "tiny", or the directory with the base weights. `device` is "cpu" or "cuda"; `precision`
    is "auto", "float32", "bfloat16", "int8" …; `options` are the family's further settings, by their
    names. The rest is as it stands here, until a job of this kind has run out of GPU memory: then batches
    are to be that share of the usual ones, a training adds up the gradients of so many times as many,
    activations are computed twice rather than kept, what is heard or spoken is cut into pieces of that
    share of the usual length, and a training leaves out longer clips.
    """

    base: str
    device: str
    precision: str
    options: Mapping[str, Option] = field(default_factory=dict, hash=False)  # `load_once` hashes
    batch_share: float = 1.0
    accumulation: int = 1
    checkpoints_activations: bool = False
    piece_share: float = 1.0
    longest_clip_s: float | None = None

    def share_of(self, batch: int) -> int:
        """The size of a batch that usually has so many items."""
        return max(1, round(batch * self.batch_share))


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a handler is told before it starts; everything else it asks for."""

    job: Job
    attempt: int
    worker_id: str

    @property
    def folder(self) -> str:
        """The job's own folder in the repository, without a trailing slash."""
        return paths.job_folder(self.job.job_id)

    @property
    def metrics_path(self) -> str:
        """The table behind the loss graph."""
        return paths.metrics_path(self.job.job_id)

    def model_path(self, file_name: str) -> str:
        """Where a trained model goes; becomes the result's `checkpoint_path`."""
        return paths.model_path(self.job.job_id, file_name)


class JobCallbacks(Protocol):
    """The names of the worker plan. Any of them may raise `JobCanceledException`."""

    def heartbeat(self, epochs_completed: int | None = None, message: str | None = None) -> None:
        """Report progress (cheap, call freely) and learn of a cancel."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Name the phase that the enclosed block works in."""

    def download_project_data(self, purpose: Purpose) -> ProjectData:
        """Fetch text and audio of the cells this job works on; audio bytes come once per box."""

    def download_checkpoint(self, repository_path: str) -> Path:
        """Fetch a model file below `gpu_jobs/`; raises `JobError` with words for the user."""

    def download_voice(self, reference: str) -> Path:
        """Fetch the recording that a job's `voice_reference` means; raises `JobError` if there is none."""

    def resolve_model(self, family: str) -> ModelChoice:
        """The operator's base model for a family; a hub model is fetched first."""

    def get_training_dir(self) -> Path:
        """Where a training keeps its state; it may hold what an interrupted attempt left, also elsewhere.

        Whole checkpoints in it (`pipelines.training.checkpoint`) are saved for other boxes now and then.
        """

    def load_once(self, load: Callable[..., T], *arguments: Hashable, **options: Hashable) -> T:
        """What `load(*arguments, **options)` makes, or made for the last job of this process.

        For models of jobs that infer: a next job with the same model may then be given to this process.
        `load` is a class or a function of a module; whatever the model depends on is an argument.
        """

    def upload_file_lfs(self, local_path: Path, remote_path: str) -> None:
        """Send a large file now; its pointer appears with the job's final commit."""

    def upload_files_batch(self, files: Mapping[str, Path]) -> None:
        """Small text files by repository path; they appear with the job's final commit."""

    def update_codex_file(self, codex_path: str, changes: Sequence[CellChange]) -> None:
        """Intended changes to cells; re-applied to the newest notebook in the final commit."""

    def get_work_dir(self) -> Path:
        """The job's own directory on this machine."""

    def get_job_config(self) -> Mapping[str, Any]:
        """The manifest entry as plain data."""
