"""The sink that runs in a child, since it loads a sentence model: records and vectors into the database.

    {"handed": Handed.to_json()} ─► {"warned": {"code", "message"} or None}

A sentence model that cannot be loaded costs the vectors, not the record.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from batch.sinks.handed import Handed
from pipelines.errors import PipelineError
from pipelines.sinks.database import Encoder, TranscriptDatabase

Told = dict[str, Any]


class Archive:
    """Keeps a sentence model and a connection, and stores transcripts."""

    def __init__(self, database: str, model: Told | None) -> None:
        """Describe both; they are opened with the first transcript.

        Args:
            database: URL or path.
            model: `name` and `folder` of the sentence model; None for records without vectors.
        """
        self._url = database
        self._model = model
        self._warned: Told | None = None
        self._database: TranscriptDatabase | None = None

    def setup(self, device: str) -> None:
        """Nothing: what cannot be opened is a warning of the transcript that needed it."""

    def run(self, told: Told) -> Told:
        """Store one transcript; raises `SinkFailed`."""
        if self._database is None:
            self._database = TranscriptDatabase(self._url, self._encoder)
        self._database.store(Handed.parse(told["handed"]).record())
        return {"warned": self._warned}

    @cached_property
    def _encoder(self) -> Encoder | None:
        if self._model is None:
            return None
        # Importing it takes seconds, and records alone do not need it.
        from pipelines.sinks.embedding import SentenceEncoder

        try:
            return SentenceEncoder(self._model["folder"], name=self._model["name"])
        except PipelineError as error:
            self._warned = {"code": error.code, "message": str(error)}
            return None
