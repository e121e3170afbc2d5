"""Finds passages in the transcripts' database: by what they mean, or by their very words.

    batch_entry.py search --database t.sqlite3 "who was born blind"     nearest in meaning
    batch_entry.py search --database t.sqlite3 --words blind pool       with all of these words

A process of its own, since it loads the sentence model that made the vectors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from batch.errors import BadUsage, CannotRun, InputMissing
from batch.sinks.steps import sentence_model_folder
from pipelines.errors import PipelineError
from pipelines.sinks.database import Encoder, Hit, TranscriptDatabase


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, and where."""

    question: tuple[str, ...]
    database: str
    cache_dir: Path
    has_words: bool = False
    """Whether passages must have these very words in them."""
    most: int = 10
    model: str | None = None
    """One of several sentence models, or where the only one is now."""


def find(search: Search) -> list[Hit]:
    """Find the best passages.

    Raises:
        InputMissing: there is no such database.
        BadUsage: vectors of several models, and none of them named.
        CannotRun: no vectors, no sentence model, or a database out of reach.
    """
    _must_exist(search.database)
    try:
        with TranscriptDatabase(search.database) as database:
            if search.has_words:
                return database.containing(search.question, search.most)
            database.encoder = _encoder(search, database.models())
            return database.search(" ".join(search.question), search.most)
    except PipelineError as error:
        raise CannotRun(str(error)) from error


def shown(hits: Sequence[Hit], *, is_json: bool) -> Iterator[str]:
    """Lines for a person, or one JSON object per passage."""
    for hit in hits:
        if is_json:
            yield json.dumps(asdict(hit), ensure_ascii=False)
            continue
        yield f"{hit.likeness:5.2f}  {_clock(hit.start_s)}  {hit.name}"
        yield f"       {' '.join(hit.text.split())}"


def _must_exist(place: str) -> None:
    """A search must not leave an empty database where a name was misspelt."""
    try:
        url = make_url(place if "://" in place else f"sqlite:///{place}")
    except ArgumentError as error:
        raise BadUsage(f"{place} is no address of a database") from error
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise InputMissing(f"there is no database {place}", "name it with --database")


def _encoder(search: Search, counts: Mapping[str, int]) -> Encoder:
    """The sentence model that made the vectors."""
    if not counts:
        raise CannotRun(
            "no transcript in this database has embeddings",
            "run the batch with --embeddings MODEL, or search for --words",
        )
    wanted = search.model
    name = wanted if wanted is not None and wanted in counts else next(iter(counts))
    if len(counts) > 1 and name != wanted:
        names = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
        raise BadUsage(f"vectors of several models are there: {names}", "choose with --embeddings")
    folder = sentence_model_folder(wanted or name, search.cache_dir)
    # Importing it takes seconds, and a question that cannot be answered should not wait for that.
    from pipelines.sinks.embedding import SentenceEncoder

    return SentenceEncoder(folder, name=name)


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}"
