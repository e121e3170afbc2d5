"""The flags that say where transcripts go besides files, and what they come to. Opens nothing.

--embeddings, --database    one database: SQLite in the output directory unless a URL is given
--entities                  a file of names and key phrases beside the outputs, and rows in the database
--upload                    all of a recording's files under s3://bucket/prefix/
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, Field

DATABASE_NAME = "transcripts.sqlite3"
EMBEDDINGS, DATABASE, ENTITIES, UPLOAD = "embeddings", "database", "entities", "upload"


class SinkSettings(BaseModel):
    """Where transcripts go besides files; each is a choice of its own."""

    embeddings: str | None = Field(
        None, description="sentence model by name or directory: makes passages findable by meaning"
    )
    database: str | None = Field(
        None,
        description=f"URL or path of the transcripts' database; with --embeddings: {DATABASE_NAME}",
    )
    collection: str = Field(
        "", description="prefix of the recordings' names in a database that several archives share"
    )
    upload: str | None = Field(
        None, pattern=r"^s3://[^/]+", description="s3://bucket/prefix that gets all outputs"
    )
    entities: Literal["comprehend"] | None = Field(
        None, description="who finds names and key phrases"
    )
    redo_sinks: bool = Field(
        default=False, description="give every finished transcript to database, S3 … once more"
    )


def database_of(settings: SinkSettings, output_dir: Path) -> str | None:
    """The database's URL or path; None if nobody wants one."""
    if settings.database is None:
        return str(output_dir.resolve() / DATABASE_NAME) if settings.embeddings else None
    has_scheme = "://" in settings.database
    return settings.database if has_scheme else str(Path(settings.database).resolve())


def sentence_model_of(settings: SinkSettings) -> str | None:
    """The sentence model under the name that its vectors are stored with: the same from any folder."""
    name = settings.embeddings
    return str(Path(name).resolve()) if name and Path(name).exists() else name


def asset_id_of(settings: SinkSettings, name: str) -> str:
    """What a recording is called in a database that may hold several collections."""
    return f"{settings.collection}/{name}" if settings.collection else name


def marks(settings: SinkSettings, output_dir: Path) -> Mapping[str, str]:
    """A short name for the options of each wanted sink: what changes it, makes the sink's work undone."""
    place = _without_password(database_of(settings, output_dir) or "")
    stored = (place, settings.collection)
    wanted = {
        ENTITIES: (settings.entities,),
        DATABASE: stored if place else (None,),
        EMBEDDINGS: (sentence_model_of(settings), *stored),
        UPLOAD: (settings.upload,),
    }
    return {name: _short(options) for name, options in wanted.items() if options[0]}


def _short(options: tuple[str | None, ...]) -> str:
    return hashlib.sha256("\n".join(map(str, options)).encode()).hexdigest()[:12]


def _without_password(url: str) -> str:
    """So that a new password is not a new database."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host))
