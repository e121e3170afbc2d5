"""The worker's hands: accepted jobs through the batch's own stages, on its warm children.

    accept ─► a free place? ─► thread ─► Flow (decode ─► transcribe) ─► result file ─► complete

A job that was running when the last worker died is failed at the start, with the code that says so. Knows no HTTP.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from batch.crew import Crew
from batch.flow import Flow, Stage
from batch.recordings.packing import Pack
from batch.recordings.source import Asset
from runner.errors import PoolClosed
from runner.frames import JsonObject
from runner.stats import PoolStatus
from web.protocol import ErrorCode, JobOptions, JobRequest, Status
from web.results import Keep
from web.store import Job, Store
from web.watched import Watch, Watched

logger = logging.getLogger(__name__)

DIARIZE = "diarize"
PERCENT = {
    "decode": ("preparing", 5),
    "transcribe": ("transcribing", 20),
    DIARIZE: ("diarizing", 80),
}
"""What a job's stage is called outside, and how far it is when the stage begins."""
OPEN = (Status.RUNNING,)


class AtCapacity(Exception):
    """Every place is taken."""


class Engine:
    """Places for jobs, and the crew that works on them."""

    def __init__(
        self, store: Store, folder: Path, places: int, crew: Crew, on_change: Callable[[], None]
    ) -> None:
        """Describe the engine; `start` loads the model.

        Args:
            store: where jobs are noted.
            folder: results and scratch go below it.
            places: jobs at once.
            crew: who works; not started yet.
            on_change: told about every step of a job.
        """
        self._store = store
        self._results = folder / "results"
        self._results.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._scratch = folder / "scratch"
        self.places = places
        self._on_change = on_change
        self._threads = ThreadPoolExecutor(places, "job")
        self._lock = threading.Lock()
        self._active: dict[str, Watch] = {}
        self._crew = crew
        self._stages: list[Stage] = []
        self.is_draining = False

    @property
    def is_ready(self) -> bool:
        """Whether the model is loaded."""
        return bool(self._stages)

    @property
    def active(self) -> int:
        """Jobs under way."""
        return len(self._active)

    @property
    def free(self) -> int:
        """Places for more."""
        if not self.is_ready or self.is_draining:
            return 0
        return self.places - self.active

    @property
    def status(self) -> str:
        """One word for health checks."""
        if self.is_draining:
            return "DRAINING"
        if not self.is_ready:
            return "STARTING"
        return "READY" if self.free else "BUSY"

    @property
    def can_diarize(self) -> bool:
        """Whether it was started with somebody who tells speakers apart."""
        return any(extra.name == DIARIZE for extra in self._crew.tasks.extras)

    def statuses(self) -> dict[str, PoolStatus]:
        """How the pools are, by stage."""
        return self._crew.statuses()

    def fail_interrupted(self) -> None:
        """Fail what an earlier process left running."""
        self._store.move_all(
            Status.RUNNING,
            status=Status.FAILED,
            finished_at=time.time(),
            error_code=PoolClosed.code,
            error_message="the worker was restarted while it worked on this",
        )

    def start(self) -> None:
        """Load the model.

        Raises:
            CannotRun: it cannot be.
        """
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(mode=0o700)
        self._stages = self._crew.start(self._scratch)
        self._on_change()

    def accept(self, job: Job, recording: Path) -> Job:
        """Take a job, or find it taken already.

        Raises:
            AtCapacity: there is no place.
        """
        with self._lock:
            there = self._store.job(job.id)
            if there is not None:
                return there
            if self.free < 1:
                raise AtCapacity
            self._store.add_job(job)
            watch = self._active[job.id] = Watch(self._note_stage(job.id))
        self._on_change()
        self._threads.submit(self._work, job, recording, watch)
        return job

    def cancel(self, job_id: str) -> bool:
        """Cancel a job that is open; says whether it was."""
        was_open = self._store.move(
            job_id,
            OPEN,
            status=Status.CANCELED,
            finished_at=time.time(),
            error_code=ErrorCode.USER_CANCELED,
        )
        watch = self._active.get(job_id)
        if watch is not None:
            watch.cancel()
        if was_open:
            self._on_change()
        return was_open

    def result_path(self, job_id: str) -> Path:
        """Where a job's result is."""
        return self._results / f"{job_id}.json"

    def close(self) -> None:
        """Take nothing more and end the children; what still runs is interrupted."""
        self.is_draining = True
        self._crew.close(0.0)
        self._threads.shutdown()

    def _note_stage(self, job_id: str) -> Callable[[str], None]:
        def note(stage: str) -> None:
            name, percent = PERCENT[stage]
            self._store.move(job_id, OPEN, stage=name, percent=percent)
            self._on_change()

        return note

    def _work(self, job: Job, recording: Path, watch: Watch) -> None:
        changes: dict[str, Any]
        try:
            changes = self._transcribed(job, recording, watch)
        except CancelledError:
            changes = _failed(ErrorCode.USER_CANCELED, "canceled")
        except Exception as error:  # the boundary: a job's failure is its own
            logger.exception("job %s broke", job.id)
            changes = _failed("INTERNAL", f"{type(error).__name__}: {error}")
        self._store.move(job.id, OPEN, finished_at=time.time(), **changes)
        with self._lock:
            del self._active[job.id]
        self._on_change()

    def _transcribed(self, job: Job, recording: Path, watch: Watch) -> dict[str, Any]:
        folder = self._scratch / job.id
        folder.mkdir()
        try:
            options = JobRequest.model_validate_json(job.request).options
            wishes = _wishes(options, folder)
            stages = [
                Stage(
                    stage.name, Watched(stage.name, stage.executor, watch, wishes), stage.timeout_s
                )
                for stage in self._stages
                if stage.name != DIARIZE or options.diarization
            ]
            write = Keep(self.result_path(job.id))
            flow = Flow(stages, write, folder / "stages", in_flight=1)
            (outcome,) = flow.carry(Pack((Asset(job.name, str(recording)),)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if outcome.code is not None:
            return _failed(outcome.code, outcome.message)
        return {
            "status": Status.COMPLETE,
            "percent": 100,
            "stage": "finalizing",
            "audio_s": outcome.audio_s,
            "result_sha256": write.sha256,
        }


def _wishes(options: JobOptions, folder: Path) -> JsonObject:
    """How this job wants to be heard, for `batch.stages.tasks:Transcribe`."""
    vocabulary = None
    if options.vocabulary is not None:
        path = folder / "whisper_vocabulary.json"
        path.write_text(json.dumps(options.vocabulary), encoding="utf-8")
        vocabulary = str(path)
    return {
        "language": options.language,
        "mode": options.mode,
        "beam": options.beam,
        "has_words": options.words,
        "vocabulary": vocabulary,
    }


def _failed(code: str, message: str) -> dict[str, Any]:
    return {"status": Status.FAILED, "error_code": code, "error_message": message}
