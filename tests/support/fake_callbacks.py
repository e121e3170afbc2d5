"""Callbacks that record what a handler does, on a temporary folder, and can cancel it anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gitlab_jobs.callbacks import (
    JobContext,
    ModelChoice,
    ProjectData,
    Purpose,
    Skipped,
    Stage,
    Utterance,
)
from gitlab_jobs.codex.changes import CellChange
from gitlab_jobs.errors import JobCanceledException, JobError
from gitlab_jobs.job import CancelReason, Job, JobType, Mode, ModelSpec


class RecordingCallbacks:
    """A `JobCallbacks` whose "repository" is the folder `repository`.

    `cancel_at_epoch` cancels at the first heartbeat that reports that many epochs; callbacks after
    that work, as they do for a job whose user canceled it.
    """

    def __init__(
        self,
        root: Path,
        data: Mapping[Purpose, ProjectData],
        *,
        models: Mapping[str, ModelChoice] | None = None,
        cancel_at_epoch: int | None = None,
        cancel_reason: CancelReason = CancelReason.USER_CANCELED,
    ) -> None:
        """Work below `root`; every family is "tiny" on the CPU unless `models` says otherwise."""
        self.repository = root / "repository"
        self.work_dir = root / "work"
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self.heartbeats: list[tuple[int | None, str | None]] = []
        self.stages: list[Stage] = []
        self.downloads: list[Purpose] = []
        self.changes: dict[str, list[CellChange]] = {}
        self._data = data
        self._models = models or {}
        self._cancel_at_epoch = cancel_at_epoch
        self._cancel_reason = cancel_reason
        self._was_canceled = False

    def heartbeat(self, epochs_completed: int | None = None, message: str | None = None) -> None:
        self.heartbeats.append((epochs_completed, message))
        is_due = self._cancel_at_epoch is not None and (epochs_completed or 0) >= (
            self._cancel_at_epoch
        )
        if is_due and not self._was_canceled:
            self._was_canceled = True
            raise JobCanceledException(self._cancel_reason)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        self.stages.append(stage)
        yield

    def download_project_data(self, purpose: Purpose) -> ProjectData:
        self.downloads.append(purpose)
        return self._data.get(purpose, ProjectData((), (), ()))

    def download_checkpoint(self, repository_path: str) -> Path:
        path = self.repository / repository_path
        if not path.is_file():
            raise JobError(f"There is no model at {repository_path}.")
        return path

    def download_voice(self, reference: str) -> Path:
        path = self.repository / reference
        if not path.is_file():
            raise JobError(f"There is no recording at {reference}.")
        return path

    def resolve_model(self, family: str) -> ModelChoice:
        return self._models.get(family, ModelChoice("tiny", "cpu", "auto"))

    def get_training_dir(self) -> Path:
        return self.work_dir / "training"

    def load_once(self, load: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        hash((arguments, tuple(options.items())))  # they are the key of what is kept
        return load(*arguments, **options)

    def upload_file_lfs(self, local_path: Path, remote_path: str) -> None:
        self._put(local_path, remote_path)

    def upload_files_batch(self, files: Mapping[str, Path]) -> None:
        for remote_path, local_path in files.items():
            self._put(local_path, remote_path)

    def update_codex_file(self, codex_path: str, changes: Sequence[CellChange]) -> None:
        self.changes.setdefault(codex_path, []).extend(changes)

    def get_work_dir(self) -> Path:
        return self.work_dir

    def get_job_config(self) -> Mapping[str, Any]:
        return {}

    @property
    def uploaded(self) -> set[str]:
        """Repository paths of everything that was sent."""
        return {
            path.relative_to(self.repository).as_posix()
            for path in self.repository.rglob("*")
            if path.is_file()
        }

    def _put(self, local_path: Path, remote_path: str) -> None:
        target = self.repository / remote_path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local_path, target)


def job_context(mode: Mode, model: str = "W2V2BERT", **fields: Any) -> JobContext:
    """A job of the model's kind; `fields` go into the job, `base_checkpoint` into its model."""
    spec = ModelSpec(type=model, base_checkpoint=fields.pop("base_checkpoint", None))
    kind = JobType.TTS if model == "StableTTS" else JobType.ASR
    job = Job(job_id="mmkbkzk0_abc", job_type=kind, mode=mode, model=spec, **fields)
    return JobContext(job=job, attempt=1, worker_id="test-worker")


def utterance(cell_id: str, audio: Path | None, text: str = "", **fields: Any) -> Utterance:
    """A cell of Matthew 1, with a take if there is audio."""
    defaults: dict[str, Any] = {
        "notebook": "files/target/MAT.codex",
        "reference": None,
        "take_id": f"audio-{cell_id}" if audio else None,
        "listed": False,
    }
    return Utterance(cell_id=cell_id, text=text, audio=audio, **{**defaults, **fields})


def project_data(utterances: Sequence[Utterance], skipped: Sequence[Skipped] = ()) -> ProjectData:
    """Cells as the callbacks would deliver them."""
    texts = tuple(item.text for item in utterances if item.text)
    return ProjectData(tuple(utterances), tuple(skipped), texts)
