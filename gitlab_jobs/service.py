"""The supervisor's answers to a job's child: it moves all bytes, the child never sees a token.

    child ── request ──► serve ──► project_data │ checkpoint │ voice │ model │ training │ send_files │ …
    child ── progress ─► note_progress ──► status() ──► heartbeat ──► response.yaml

`serve` runs in a thread of its own, one request at a time. Paths that a child names are checked: local
ones must lie in the job's directory, repository ones in the job's folder. Knows no handler.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitlab_jobs import paths, wire
from gitlab_jobs.callbacks import Purpose, Stage
from gitlab_jobs.codex.changes import AddTake
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.errors import JobError, UnsafePath
from gitlab_jobs.forecast import Forecast
from gitlab_jobs.heartbeat import Status
from gitlab_jobs.job import CancelReason, Job
from gitlab_jobs.lease import Patience
from gitlab_jobs.lfs import parse_pointer
from gitlab_jobs.model_source import resolve_model
from gitlab_jobs.outbox import Outbox
from gitlab_jobs.project_data import collect, fetch_recording
from gitlab_jobs.resume import begun_with, restore
from gitlab_jobs.settings import FamilySettings
from gitlab_jobs.store import ProjectStore, Snapshot
from gitlab_jobs.training_state import HOME
from runner.child_process import StopChild

logger = logging.getLogger(__name__)

STAGE_WORDS = {
    Stage.DOWNLOAD: "Downloading",
    Stage.PREPROCESS: "Preparing the recordings",
    Stage.TRAIN: "Training",
    Stage.EVALUATE: "Checking the model",
    Stage.INFER: "Working through the verses",
    Stage.UPLOAD: "Uploading",
}
OUTAGE_S = 12 * 3600.0
"""A server that is away for longer than this fails a job that needs something from it."""
LOG_GAP_S = 15.0
"""Progress is news to an operator at most this often."""
MAX_TEXT_FILE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Site:
    """Where a job runs: the account's name, the child's device, the box's cache, the job's directory."""

    username: str
    device: str
    cache_dir: Path
    scratch: Path
    families: FamilySettings


class JobService:
    """Serves one attempt; `status` and `stop` may be called from other threads."""

    def __init__(self, job: Job, store: ProjectStore, outbox: Outbox, site: Site) -> None:
        """Nothing is fetched before it is asked for."""
        self._job = job
        self._store = store
        self._outbox = outbox
        self._site = site
        self._lock = threading.Lock()
        self._stage: Stage | None = None
        self._message: str | None = None
        self._epochs: int | None = None
        self._forecast = Forecast(job.epochs)
        self._resumed: str | None = None
        self._stop_reason: CancelReason | None = None
        self._logged_s = time.monotonic()
        self._stopped = threading.Event()
        self._outage = Patience(OUTAGE_S, self._stopped)
        self._answers: Mapping[str, Callable[[Any], dict[str, Any]]] = {
            "stage": self._enter_stage,
            "project_data": self._project_data,
            "checkpoint": self._checkpoint,
            "voice": self._voice,
            "model": self._model,
            "training": self._training,
            "send_files": self._send_files,
            "change_cells": self._change_cells,
        }

    def serve(self, name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request; what it raises reaches the child as the same kind of error.

        An outage of the server is not the job's fault: the child waits while it is tried again.
        """
        request = wire.REQUESTS[name].validate_python(payload)
        for attempt in self._outage.attempts():
            with attempt:
                return self._answers[name](request)
        raise AssertionError("attempts end with a result or an error")

    def note_progress(self, fields: Mapping[str, Any]) -> None:
        """Remember how far the child says it is."""
        beat = wire.HEARTBEAT.validate_python(dict(fields))
        with self._lock:
            if beat.epochs_completed is not None:
                self._epochs = beat.epochs_completed
                self._forecast.note(beat.epochs_completed, datetime.now(UTC))
            if beat.message is not None:
                self._message = beat.message
        now_s = time.monotonic()
        if beat.message is not None and now_s - self._logged_s >= LOG_GAP_S:
            self._logged_s = now_s
            logger.info("job %s: %s", self._job.job_id, beat.message)

    def stop(self, reason: CancelReason) -> None:
        """End transfers and waiting; requests for saving what was made are still served once."""
        self._stop_reason = reason
        self._stopped.set()

    @property
    def epochs_completed(self) -> int | None:
        """The last number that the child reported."""
        with self._lock:
            return self._epochs

    def status(self) -> Status:
        """What to tell the user now."""
        with self._lock:
            stage, message, epochs = self._stage, self._message, self._epochs
            expected = self._forecast.end if stage is Stage.TRAIN else None
        words = message or (STAGE_WORDS[stage] if stage else "Getting ready")
        fields: dict[str, Any] = {"status_message": words, "expected_completion": expected}
        if epochs is not None:
            fields["epochs_completed"] = epochs
        return Status(stage.value if stage else None, fields)

    def _enter_stage(self, request: wire.EnterStage) -> dict[str, Any]:
        with self._lock:
            self._stage, self._message = request.stage, None
        logger.info("job %s: %s", self._job.job_id, request.stage)
        return {}

    def _project_data(self, request: wire.WantData) -> dict[str, Any]:
        reach("download.intended")
        data = collect(
            self._store,
            self._job,
            request.purpose,
            self._snapshot(request.purpose),
            own_names=frozenset({self._site.username}),
            stray_dir=self._site.scratch / "audio",
            progress=self._transfer("Downloading audio"),
        )
        reach("download.acted")
        return wire.pack(wire.PROJECT_DATA, data)

    def _checkpoint(self, request: wire.WantCheckpoint) -> dict[str, Any]:
        path = paths.checked_checkpoint_path(request.repository_path)
        found = self._store.read([path]).get(path)
        if found is None:
            raise JobError(f"The model {path} is not in the project (any more).")
        pointer = parse_pointer(found.content)
        if pointer is None:
            raise JobError(f"{path} is not a model file that this worker wrote.")
        files = self._store.fetch_objects([pointer], self._transfer("Downloading the model"))
        if pointer.oid not in files:
            raise JobError(f"The content of the model {path} is missing on the server.")
        return {"path": str(files[pointer.oid])}

    def _voice(self, request: wire.WantVoice) -> dict[str, Any]:
        recording = fetch_recording(
            self._store,
            request.reference,
            stray_dir=self._site.scratch / "audio",
            progress=self._transfer("Downloading the voice"),
        )
        return {"path": str(recording)}

    def _model(self, request: wire.WantModel) -> dict[str, Any]:
        choice = resolve_model(
            self._site.families,
            request.family,
            device=self._site.device,
            cache_dir=self._site.cache_dir / "models",
        )
        return wire.pack(wire.MODEL_CHOICE, choice)

    def _training(self, _request: wire.WantTraining) -> dict[str, Any]:
        home = self._training_home()
        home.mkdir(parents=True, exist_ok=True)
        return {"path": str(home), "said": self._resumed}

    def _training_home(self) -> Path:
        """Where the training's state is, if there is one anywhere."""
        home = self._site.scratch / HOME
        if self._resumed is None:
            progress = self._transfer("Downloading the state of the training")
            self._resumed = restore(self._store, self._job.job_id, home, progress)
        return home

    def _snapshot(self, purpose: Purpose) -> Snapshot:
        if purpose is Purpose.TRAIN and self._job.mode.trains:
            return begun_with(self._store, self._training_home())
        return self._store.snapshot()

    def _send_files(self, request: wire.SendFiles) -> dict[str, Any]:
        folder = f"{paths.job_folder(self._job.job_id)}/"
        files = {
            paths.checked_repository_path(remote, [folder]): self._own_file(local)
            for remote, local in request.files.items()
        }
        if not request.large:
            for remote, local in files.items():
                if local.stat().st_size > MAX_TEXT_FILE_BYTES:
                    raise JobError(f"{remote} is too large for a plain file")
                self._outbox.add_text(remote, _text(local))
            return {}
        reach("upload.intended")
        pointers = self._store.send_objects(set(files.values()), self._transfer("Uploading"))
        reach("upload.acted")
        for remote, local in files.items():
            self._outbox.add_pointer(remote, pointers[local])
        reach("upload.staged")
        return {}

    def _change_cells(self, request: wire.ChangeCells) -> dict[str, Any]:
        if not paths.is_notebook_path(request.notebook):
            raise UnsafePath(f"{request.notebook} is not a notebook of this project")
        audio = {
            c.audio: self._own_file(c.audio) for c in request.changes if isinstance(c, AddTake)
        }
        reach("takes.intended")
        pointers = self._store.send_objects(set(audio.values()), self._transfer("Uploading audio"))
        reach("takes.acted")
        takes = {named: pointers[local] for named, local in audio.items()}
        self._outbox.add_changes(request.notebook, request.changes, takes)
        reach("takes.staged")
        return {}

    def _own_file(self, path: Path) -> Path:
        """A file below the job's directory; links that lead elsewhere are refused."""
        resolved = path.resolve()
        if not resolved.is_relative_to(self._site.scratch.resolve()) or not resolved.is_file():
            raise UnsafePath(f"{path.name} is not a file of this job")
        return resolved

    def _transfer(self, words: str) -> Callable[[int, int], None]:
        def note(done: int, total: int) -> None:
            with self._lock:
                self._message = f"{words} {done} of {total}" if total > 1 else words
            self._stop_if_asked(words)

        return note

    def _stop_if_asked(self, words: str) -> None:
        # Uploads go on: after a cancel they are the partial model that the user may want.
        if self._stop_reason is not None and not words.startswith("Uploading"):
            raise StopChild(self._stop_reason.value)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise JobError(f"{path.name} is not a text file; upload it as a large file") from error
