"""The tables of a transcript database, for SQLite and PostgreSQL.

    recordings 1 ─── n passages (text, times, speaker, vector)
               1 ─── n entities

Vectors are `vector` columns where PostgreSQL has the extension pgvector, and bytes elsewhere (float32,
little-endian). Knows SQLAlchemy; holds no queries.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine


class VectorBytes(TypeDecorator[NDArray[np.float32]]):
    """A vector as float32 bytes."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(
        self,
        value: Any,
        dialect: Dialect,  # noqa: ARG002 -- the signature is the library's
    ) -> bytes | None:
        """Vector to bytes."""
        return None if value is None else np.asarray(value, "<f4").tobytes()

    def process_result_value(
        self,
        value: Any,
        dialect: Dialect,  # noqa: ARG002 -- the signature is the library's
    ) -> NDArray[np.float32] | None:
        """Bytes to vector."""
        return None if value is None else np.frombuffer(value, "<f4")


class Tables:
    """The tables, with one kind of vector column."""

    def __init__(self, vector: TypeEngine[Any]) -> None:
        """Describe; nothing is created."""
        self.metadata = MetaData()
        self.recordings = Table(
            "recordings",
            self.metadata,
            Column("asset_id", String(512), primary_key=True),
            Column("name", Text, nullable=False),
            Column("source", Text, nullable=False),
            Column("language", String(16), nullable=False),
            Column("duration_s", Float, nullable=False),
            Column("text", Text, nullable=False),
            Column("summary", Text, nullable=False),
            Column("embedding_model", Text),
            Column("stored_at", DateTime(timezone=True), default=lambda: datetime.now(UTC)),
        )
        self.passages = Table(
            "passages",
            self.metadata,
            self._owner(),
            Column("number", Integer, primary_key=True, autoincrement=False),
            Column("start_s", Float, nullable=False),
            Column("end_s", Float, nullable=False),
            Column("speaker", String(64)),
            Column("text", Text, nullable=False),
            Column("embedding", vector),
        )
        self.entities = Table(
            "entities",
            self.metadata,
            self._owner(),
            Column("number", Integer, primary_key=True, autoincrement=False),
            Column("kind", String(64), nullable=False),
            Column("text", Text, nullable=False),
            Column("score", Float, nullable=False),
        )

    @staticmethod
    def _owner() -> Column[str]:
        return Column(
            "asset_id",
            String(512),
            ForeignKey("recordings.asset_id", ondelete="CASCADE"),
            primary_key=True,
        )
