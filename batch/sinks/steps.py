"""What is done with a finished transcript, sink by sink: entities, database, upload.

Each step answers for the sinks that it names, and warns instead of raising where only a part of them failed.
Services are asked from here, with the AWS chain's credentials; what loads a model runs in a child.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from batch.errors import CannotRun
from batch.flags.sinks import (
    DATABASE,
    EMBEDDINGS,
    ENTITIES,
    UPLOAD,
    database_of,
    sentence_model_of,
)
from batch.flow import Warned
from batch.settings import BatchSettings
from batch.sinks.handed import Handed
from gitlab_jobs.model_source import ModelUnavailable, local_base
from pipelines.sinks.record import SinkFailed
from runner.executors import Site, warm_executor
from runner.frames import JsonObject
from runner.pool import Pool
from runner.task import TaskSpec

ROOT = Path(__file__).parents[2]
STORE_TIMEOUT_S = 900.0


class Step(Protocol):
    """One thing that is done with a transcript. Safe from several threads."""

    sinks: frozenset[str]
    """The sinks that it answers for."""

    def store(self, handed: Handed) -> Sequence[Warned]:
        """Do it; what is warned about is not done.

        Raises:
            PipelineError, RunnerError, OSError, ValueError: nothing of it is done.
        """

    def close(self, grace_s: float) -> None:
        """End what it has started."""


def chosen_steps(settings: BatchSettings, scratch: Path) -> list[Step]:
    """The steps that the operator wants, in their order; nothing is started.

    Raises:
        CannotRun: a library is missing, or nobody says which region.
    """
    steps: list[Step] = []
    try:
        if settings.entities:
            steps.append(EntityStep())
        place = database_of(settings, settings.output_dir)
        if place:
            steps.append(ArchiveStep(settings, place, scratch))
        if settings.upload:
            steps.append(UploadStep(settings.upload))
    except SinkFailed as error:
        raise CannotRun(str(error), "see AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL") from error
    return steps


class EntityStep:
    """Names and key phrases into a file beside the outputs."""

    sinks = frozenset([ENTITIES])

    def __init__(self) -> None:
        """Prepare the client; nothing is sent."""
        _need("boto3")
        from pipelines.sinks.aws import EntityFinder

        self._finder = EntityFinder()

    def store(self, handed: Handed) -> Sequence[Warned]:
        """Ask about a text that nobody has asked about yet."""
        record = handed.record()
        if handed.entities(record.text) is None:
            handed.keep_entities(record.text, self._finder.find(record))
        return ()

    def close(self, grace_s: float) -> None:
        """Nothing was started."""


class UploadStep:
    """All files of a recording into S3."""

    sinks = frozenset([UPLOAD])

    def __init__(self, url: str) -> None:
        """Prepare the client; nothing is sent."""
        _need("boto3")
        from pipelines.sinks.aws import S3Upload

        self._upload = S3Upload(url)

    def store(self, handed: Handed) -> Sequence[Warned]:
        """Upload; what is there already is replaced."""
        self._upload.store(handed.record())
        return ()

    def close(self, grace_s: float) -> None:
        """Nothing was started."""


class ArchiveStep:
    """Records and vectors into the database, by a child that keeps the sentence model."""

    sinks = frozenset([DATABASE, EMBEDDINGS])

    def __init__(self, settings: BatchSettings, database: str, scratch: Path) -> None:
        """Describe the child; it is started with the first transcript."""
        _need("sqlalchemy")
        if settings.embeddings:
            _need("sentence_transformers")
        self._settings = settings
        self._database = database
        self._scratch = scratch
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._unavailable: Warned | None = None

    def store(self, handed: Handed) -> Sequence[Warned]:
        """Store; vectors that could not be made are warned about."""
        future = self._started().submit({"handed": handed.to_json()}, timeout_s=STORE_TIMEOUT_S)
        warned = future.result()["warned"]
        found = [Warned(EMBEDDINGS, warned["code"], warned["message"])] if warned else []
        return [self._unavailable] if self._unavailable else found

    def close(self, grace_s: float) -> None:
        """End the child."""
        if self._pool is not None:
            self._pool.close(grace_s)

    def _started(self) -> Pool:
        with self._lock:
            if self._pool is None:
                self._scratch.mkdir(parents=True, exist_ok=True)
                options = {"database": self._database, "model": self._model()}
                task = TaskSpec("batch.sinks.tasks:Archive", options, import_paths=(ROOT,))
                # The child has a home of its own; where a password is kept is no secret.
                keys = os.environ.get("PGPASSFILE", str(Path.home() / ".pgpass"))
                site = Site(self._scratch, environment={"PGPASSFILE": keys})
                self._pool = warm_executor(task, site)
            return self._pool

    def _model(self) -> JsonObject | None:
        name = sentence_model_of(self._settings)
        if not name:
            return None
        try:
            folder = sentence_model_folder(name, self._settings.cache_dir)
        except CannotRun as error:
            self._unavailable = Warned(EMBEDDINGS, ModelUnavailable.code, str(error))
            return None
        return {"name": name, "folder": folder}


def sentence_model_folder(name: str, cache_dir: Path) -> str:
    """A sentence model on this machine's disk.

    Raises:
        CannotRun: it is not here and cannot be fetched.
    """
    is_short = "/" not in name and not Path(name).exists()
    try:
        return local_base(
            EMBEDDINGS, f"sentence-transformers/{name}" if is_short else name, cache_dir
        )
    except ModelUnavailable as error:
        raise CannotRun(
            f"the sentence model {name} is not here and cannot be fetched",
            "give --embeddings a directory, or a name that the hub has",
        ) from error


def _need(library: str) -> None:
    if find_spec(library) is None:
        raise CannotRun(f"{library} is not installed", "pip install 'scriptorium[archive]'")
