"""Transcripts in a database by URL: SQLite by default, PostgreSQL where a team shares one.

A record is stored in one transaction, and storing it again replaces it. Searching by meaning is the
database's work with pgvector, and a stream over all vectors elsewhere. Knows no batch.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pgvector.sqlalchemy import Vector
from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    literal,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeEngine

from pipelines.sinks.record import Record, SinkFailed, texts
from pipelines.sinks.schema import Tables, VectorBytes

BATCH_ROWS = 2000
_SCHEMA_LOCK = 0x5343_5249
"""Any number that nobody else in the database uses for a lock."""


class Encoder(Protocol):
    """Turns sentences into unit vectors (n, d)."""

    name: str

    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Encode."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found; `likeness` is the cosine of its vector and the question's."""

    likeness: float
    asset_id: str
    name: str
    start_s: float
    end_s: float
    text: str


class TranscriptDatabase:
    """A sink, and what is searched later. A context manager."""

    def __init__(self, url: str, encoder: Encoder | None = None) -> None:
        """Connect, and create what is missing.

        Args:
            url: an SQLAlchemy URL, or a path for SQLite.
            encoder: makes vectors of passages; without one nothing can be searched by meaning. May be
                given later.

        Raises:
            SinkFailed: no such database, or no rights in it.
        """
        address = url if "://" in url else f"sqlite:///{Path(url)}"
        self.encoder = encoder
        with _as_sink_failure():
            self._engine = _engine(address)
            self._has_pgvector, self._tables = self._prepare()

    def __enter__(self) -> Self:
        """Use it in a block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    def store(self, record: Record) -> None:
        """Store a record in place of an older one of the same asset; see `Sink.store`."""
        tables = self._tables
        rows = self._passage_rows(record)
        owner = {"asset_id": record.asset_id}
        with _as_sink_failure(), self._engine.begin() as connection:
            for table in (tables.passages, tables.entities, tables.recordings):
                connection.execute(delete(table).where(table.c.asset_id == record.asset_id))
            connection.execute(insert(tables.recordings).values(self._recording_row(record)))
            if rows:
                connection.execute(insert(tables.passages), rows)
            if record.entities:
                connection.execute(
                    insert(tables.entities),
                    [
                        owner
                        | {"number": number, "kind": one.kind, "text": one.text, "score": one.score}
                        for number, one in enumerate(record.entities)
                    ],
                )

    def known(self) -> set[str]:
        """The ids of every recording stored.

        Raises:
            SinkFailed: the database is out of reach.
        """
        with _as_sink_failure(), self._engine.connect() as connection:
            return set(connection.scalars(select(self._tables.recordings.c.asset_id)))

    def models(self) -> dict[str, int]:
        """How many recordings have vectors, by the sentence model that made them.

        Raises:
            SinkFailed: the database is out of reach.
        """
        model = self._tables.recordings.c.embedding_model
        counted = select(model, func.count()).where(model.is_not(None)).group_by(model)
        with _as_sink_failure(), self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(counted)}

    def containing(self, words: Sequence[str], most: int = 10) -> list[Hit]:
        """Find the passages with all these words in them, whatever their case; in the order of names and times.

        Raises:
            SinkFailed: the database is out of reach.
        """
        passages, recordings = self._tables.passages, self._tables.recordings
        wanted = (passages.c.text.icontains(word, autoescape=True) for word in words)
        rows = (
            select(literal(1.0), *self._columns())
            .join_from(passages, recordings)
            .where(*wanted)
            .order_by(recordings.c.name, passages.c.number)
            .limit(most)
        )
        with _as_sink_failure(), self._engine.connect() as connection:
            return [Hit(*row) for row in connection.execute(rows)]

    def search(self, question: str, most: int = 10) -> list[Hit]:
        """Find the passages nearest in meaning, best first.

        Raises:
            SinkFailed: no encoder was given, or the database is out of reach.
        """
        if self.encoder is None:
            raise SinkFailed("searching by meaning needs a sentence model: name one")
        wanted = self.encoder.encode([question])[0]
        with _as_sink_failure(), self._engine.connect() as connection:
            find = self._nearest_there if self._has_pgvector else self._nearest_here
            return find(connection, wanted, most)

    def _prepare(self) -> tuple[bool, Tables]:
        has_pgvector = False
        if self._engine.dialect.name == "postgresql":
            has_pgvector = _enable_pgvector(self._engine)
        vector: TypeEngine[Any] = Vector() if has_pgvector else VectorBytes()
        tables = Tables(vector)
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "postgresql":
                # Two runners that begin together would both find no tables, and one of them fail.
                connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            tables.metadata.create_all(connection)
        stored = {
            column["name"]: column["type"]
            for column in inspect(self._engine).get_columns("passages")
        }
        if has_pgvector and not isinstance(stored["embedding"], Vector):
            return False, Tables(VectorBytes())  # made before the extension was installed
        return has_pgvector, tables

    def _recording_row(self, record: Record) -> dict[str, Any]:
        return {
            "asset_id": record.asset_id,
            "name": record.name,
            "source": record.source,
            "language": record.language,
            "duration_s": record.duration_s,
            "text": record.text,
            "summary": record.summary,
            "embedding_model": self.encoder.name if self.encoder else None,
        }

    def _passage_rows(self, record: Record) -> list[dict[str, Any]]:
        if not record.passages:
            return []
        vectors: Sequence[Any] = [None] * len(record.passages)
        if self.encoder:
            vectors = list(self.encoder.encode(texts(record.passages)))
        return [
            {
                "asset_id": record.asset_id,
                "number": number,
                "start_s": passage.start_s,
                "end_s": passage.end_s,
                "speaker": passage.speaker,
                "text": passage.text,
                "embedding": vector,
            }
            for number, (passage, vector) in enumerate(zip(record.passages, vectors, strict=True))
        ]

    def _columns(self) -> tuple[Any, ...]:
        passages, recordings = self._tables.passages.c, self._tables.recordings.c
        return passages.asset_id, recordings.name, passages.start_s, passages.end_s, passages.text

    def _nearest_there(
        self, connection: Connection, wanted: NDArray[np.float32], most: int
    ) -> list[Hit]:
        distance = self._tables.passages.c.embedding.cosine_distance(wanted)
        rows = connection.execute(
            select(1 - distance, *self._columns())
            .join_from(self._tables.passages, self._tables.recordings)
            .where(self._tables.recordings.c.embedding_model == self._model())
            .order_by(distance)
            .limit(most)
        )
        return [Hit(float(row[0]), *row[1:]) for row in rows]

    def _nearest_here(
        self, connection: Connection, wanted: NDArray[np.float32], most: int
    ) -> list[Hit]:
        rows = connection.execution_options(yield_per=BATCH_ROWS).execute(
            select(self._tables.passages.c.embedding, *self._columns())
            .join_from(self._tables.passages, self._tables.recordings)
            .where(self._tables.recordings.c.embedding_model == self._model())
        )
        best: list[Hit] = []
        for part in rows.partitions():
            likeness = np.stack([row[0] for row in part]) @ wanted
            found = (Hit(float(like), *row[1:]) for like, row in zip(likeness, part, strict=True))
            best = heapq.nlargest(most, [*best, *found], key=lambda hit: hit.likeness)
        return best

    def _model(self) -> str | None:
        """Vectors of another model mean something else."""
        return self.encoder.name if self.encoder else None


def _engine(address: str) -> Engine:
    url = make_url(address)
    if url.drivername in (
        "postgresql",
        "postgres",
    ):  # without a driver, an older one would be meant
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    # The last connection that closes leaves one whole file: whoever copies it has everything.
    engine = create_engine(url, poolclass=NullPool)
    event.listen(engine, "connect", _be_a_careful_sqlite)
    return engine


def _be_a_careful_sqlite(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA busy_timeout=10000")


def _enable_pgvector(engine: Engine) -> bool:
    """Whether the extension is there, or may be switched on."""
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
    except SQLAlchemyError:
        return False
    return True


@contextmanager
def _as_sink_failure() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, ImportError) as error:
        first = str(error).splitlines()[0]
        raise SinkFailed(f"the transcript database did not take it: {first}") from error
