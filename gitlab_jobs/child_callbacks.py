"""The callbacks as a job's child sees them: every wish becomes a request to the supervisor.

Holds no token and opens no connection; the supervisor (`service`) moves all bytes and hands back local
paths. Control flow: once the supervisor wants the child to stop, the next callback raises
`JobCanceledException`; callbacks made after that (saving a partial model) are carried out normally.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from gitlab_jobs import errors, wire
from gitlab_jobs.callbacks import ModelChoice, ProjectData, Purpose, Stage
from gitlab_jobs.codex.changes import CellChange
from gitlab_jobs.errors import JobCanceledException, JobError
from gitlab_jobs.job import CancelReason, Job
from gitlab_jobs.kept_models import KeptModels
from runner.child import RequestFailed, Stopped

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Line(Protocol):
    """What these callbacks need of the line to the supervisor (`runner.child.Channel`)."""

    @property
    def stop_reason(self) -> str | None:
        """Why the child must end; None while it need not."""

    def progress(self, **fields: object) -> None:
        """Report where the work stands."""

    def request(
        self, name: str, payload: dict[str, Any], *, even_if_stopped: bool = False
    ) -> dict[str, Any]:
        """Have something carried out and wait for the answer."""


class ChildCallbacks:
    """Implements `JobCallbacks` over the child's line."""

    def __init__(
        self, channel: Line, job: Job, work_dir: Path, kept: KeptModels | None = None
    ) -> None:
        """Speak for one job; `kept` is what this process has kept of earlier ones."""
        self._channel = channel
        self._job = job
        self._work_dir = work_dir
        self._kept = kept or KeptModels()
        self._was_told = False

    def heartbeat(self, epochs_completed: int | None = None, message: str | None = None) -> None:
        """Report progress and learn of a cancel; costs a function call."""
        fields = {"epochs_completed": epochs_completed, "message": message}
        self._channel.progress(
            **{name: value for name, value in fields.items() if value is not None}
        )
        if not self._was_told and self._channel.stop_reason is not None:
            self._raise_canceled(self._channel.stop_reason)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Name the phase that the enclosed block works in."""
        self._ask("stage", wire.EnterStage(stage))
        yield

    def download_project_data(self, purpose: Purpose) -> ProjectData:
        """Cells of this purpose, with local audio files."""
        reply = self._ask("project_data", wire.WantData(purpose))
        return wire.PROJECT_DATA.validate_python(reply)

    def download_checkpoint(self, repository_path: str) -> Path:
        """A model file of the repository, as a local file."""
        return Path(self._ask("checkpoint", wire.WantCheckpoint(repository_path))["path"])

    def download_voice(self, reference: str) -> Path:
        """The recording that a job's `voice_reference` means, as a local file."""
        return Path(self._ask("voice", wire.WantVoice(reference))["path"])

    def resolve_model(self, family: str) -> ModelChoice:
        """The operator's base model of a family."""
        return wire.MODEL_CHOICE.validate_python(self._ask("model", wire.WantModel(family)))

    def get_training_dir(self) -> Path:
        """Where a training keeps its state; says in the job's log where it goes on from."""
        reply = self._ask("training", wire.WantTraining())
        if reply["said"] is not None:
            logger.info("%s", reply["said"])
        return Path(reply["path"])

    def load_once(self, load: Callable[..., T], *arguments: Hashable, **options: Hashable) -> T:
        """What `load` makes, kept for a next job of this process."""
        return self._kept.load_once(load, *arguments, **options)

    def upload_file_lfs(self, local_path: Path, remote_path: str) -> None:
        """Send a large file; its pointer is published with the final commit."""
        self._ask("send_files", wire.SendFiles({remote_path: local_path}, large=True))

    def upload_files_batch(self, files: Mapping[str, Path]) -> None:
        """Small text files, published with the final commit."""
        self._ask("send_files", wire.SendFiles(dict(files), large=False))

    def update_codex_file(self, codex_path: str, changes: Sequence[CellChange]) -> None:
        """Intended changes to one notebook."""
        self._ask("change_cells", wire.ChangeCells(codex_path, tuple(changes)))

    def get_work_dir(self) -> Path:
        """The job's own directory on this machine."""
        return self._work_dir

    def get_job_config(self) -> Mapping[str, Any]:
        """The manifest entry as plain data."""
        return self._job.model_dump(mode="json")

    def _ask(self, name: str, request: Any) -> dict[str, Any]:
        payload = wire.pack(wire.REQUESTS[name], request)
        try:
            return self._channel.request(name, payload, even_if_stopped=self._was_told)
        except Stopped as stopped:
            self._raise_canceled(stopped.reason)
        except RequestFailed as failed:
            raise _as_job_error(failed) from failed

    def _raise_canceled(self, reason: str) -> NoReturn:
        self._was_told = True
        known = {member.value for member in CancelReason}
        raise JobCanceledException(
            CancelReason(reason) if reason in known else CancelReason.SHUTDOWN
        )


def _as_job_error(failed: RequestFailed) -> JobError:
    kind = getattr(errors, failed.kind, JobError)
    error_type = kind if isinstance(kind, type) and issubclass(kind, JobError) else JobError
    error = error_type(failed.message)
    if failed.code:
        error.code = failed.code
    return error
