"""Who does the work of a remote batch: a controller and its worker, asked for once at the start and shown.

Stands where `batch.crew` stands for a local one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batch.errors import CannotRun
from batch.flow import Write
from batch.peer import PeerError
from batch.remote.controller import Controller
from batch.remote.flow import Keeping, RemoteFlow, Wanted
from batch.remote.session_file import session_path
from batch.settings import BatchSettings
from pipelines.asr.whisper.vocabulary import Vocabulary
from runner.stats import PoolStatus

MOST_TERMS = 300
"""More than a prompt has room for."""
START_PATIENCE_S = 10.0
PATIENCE_S = 300.0
"""How long a controller that does not answer is tried again, at the start and in the middle."""


class RemoteCrew:
    """A controller in whose session this batch is."""

    def __init__(self, settings: BatchSettings) -> None:
        """Speak to the controller.

        Raises:
            CannotRun: it does not answer, or its worker has another model.
        """
        self._settings = settings
        self._is_closed = False
        self._controller = Controller(
            settings.controller,
            session_path(settings.controller, settings.state_path),
            is_stopping=lambda: self._is_closed,
        )
        try:
            self._controller.be_patient(START_PATIENCE_S)
            self._controller.open()
            told = self._controller.runtime()["remoteWorker"]
        except PeerError as error:
            raise CannotRun(
                f"the controller does not let us in: {error}",
                "python server_entry.py controller starts one; --controller says where it is",
            ) from error
        self._controller.be_patient(PATIENCE_S)
        self.shown = self._described(told)

    def statuses(self) -> dict[str, PoolStatus]:
        """There are no pools on this machine."""
        return {}

    def flow(self, write: Write, scratch: Path, keeping: Keeping) -> RemoteFlow:
        """What carries recordings through this crew."""
        settings = self._settings
        wanted = Wanted(job_options(settings), settings.options_hash())
        scratch.mkdir()
        return RemoteFlow(self._controller, wanted, write, scratch, keeping, settings.parallel)

    def close(self, _grace_s: float = 0.0) -> None:
        """Hang up; what is under way stays with the controller."""
        self._is_closed = True
        self._controller.close()

    def _described(self, told: Mapping[str, Any]) -> str:
        """One line about who will work."""
        place = f"{self._settings.controller}, model {self._settings.model}"
        able = told["workerCapabilities"]
        if able is None:
            return f"{place}: its worker does not answer ({told.get('lastErrorCode') or 'not yet'})"
        model = able["models"]["default"]
        if model != self._settings.model:
            raise CannotRun(
                f"the worker has the model {model}, not {self._settings.model}", f"-m {model}"
            )
        if self._settings.diarization and "diarization" not in able["features"]:
            raise CannotRun("the worker names no speakers", "start it with --diarization")
        where = able["gpuName"] or "a machine without a GPU"
        return f"{place}: {able['maxConcurrentJobs']} at a time on {where}"


def job_options(settings: BatchSettings) -> dict[str, Any]:
    """What a job asks of the worker; corrections and formats are made here."""
    terms = Vocabulary.load(settings.vocabulary, None).terms[:MOST_TERMS]
    return {
        "model": settings.model,
        "language": settings.language,
        "mode": settings.mode,
        "beam": settings.beam,
        "words": settings.words,
        "diarization": settings.diarization,
        "vocabulary": {"custom_vocabulary": [{"display_as": term} for term in terms]},
    }
