"""Transcripts stored and found again: SQLite, PostgreSQL, and PostgreSQL with pgvector."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import create_engine, text

from pipelines.sinks import database as database_module
from pipelines.sinks.database import TranscriptDatabase
from pipelines.sinks.record import Entity, Passage, Record, SinkFailed, passages_of


class WordEncoder:
    """Sentences with the same words have the same direction: enough meaning for a test."""

    name = "words"

    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(sentences), 64), np.float32)
        for row, sentence in enumerate(sentences):
            for word in sentence.lower().split():
                vectors[row, hashlib.sha256(word.encode()).digest()[0] % 64] += 1
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.maximum(norms, 1e-9)


def record(asset_id: str = "a-1", *said: str, entities: tuple[Entity, ...] = ()) -> Record:
    """A recording with one passage a sentence."""
    passages = tuple(
        Passage(float(number), number + 1.0, words, "SPEAKER_00")
        for number, words in enumerate(said)
    )
    return Record(
        asset_id=asset_id,
        name=f"{asset_id}.mp3",
        source=f"folder/{asset_id}.mp3",
        text=" ".join(said),
        language="en",
        duration_s=float(len(said)),
        passages=passages,
        entities=entities,
    )


@pytest.fixture(params=["sqlite", "postgresql", "pgvector"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same behaviour everywhere."""
    if request.param == "sqlite":
        return str(tmp_path / "transcripts.sqlite3")
    if request.param == "postgresql":
        monkeypatch.setattr(database_module, "_enable_pgvector", lambda _: False)
    address: str = request.getfixturevalue("postgres_url")
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS entities, passages, recordings CASCADE"))
    engine.dispose()
    return address


def test_a_passage_is_found_by_what_it_says(url: str) -> None:
    """Best first, with where to listen."""
    with TranscriptDatabase(url, WordEncoder()) as database:
        database.store(record("a-1", "in the beginning god created heaven", "let there be light"))
        database.store(record("a-2", "blessed are the poor in spirit"))

        hits = database.search("the light let there be", most=2)

    assert (hits[0].asset_id, hits[0].start_s, hits[0].text) == ("a-1", 1.0, "let there be light")
    assert hits[0].likeness > hits[1].likeness
    assert len(hits) == 2


def test_storing_again_replaces(url: str) -> None:
    """Never twice, never a leftover."""
    found = (Entity("PERSON", "God", 0.9), Entity("PERSON", "Adam", 0.8))
    with TranscriptDatabase(url, WordEncoder()) as database:
        database.store(record("a-1", "one", "two", "three", entities=found))
        database.store(record("a-1", "four", entities=found[:1]))

        assert database.known() == {"a-1"}
        assert [hit.text for hit in database.search("four")] == ["four"]

    with TranscriptDatabase(url) as database:
        assert database.known() == {"a-1"}


def test_a_record_that_fails_half_way_leaves_nothing(url: str) -> None:
    """One transaction: the old record is still there."""
    broken = record("a-1", "new", entities=(Entity("PERSON", None, 0.5),))  # type: ignore[arg-type]  # a fault
    with TranscriptDatabase(url, WordEncoder()) as database:
        database.store(record("a-1", "old"))
        with pytest.raises(SinkFailed):
            database.store(broken)

        assert [hit.text for hit in database.search("old")] == ["old"]


def test_vectors_of_another_model_are_not_compared(url: str) -> None:
    """Numbers of two models mean different things."""
    with TranscriptDatabase(url, WordEncoder()) as database:
        database.store(record("a-1", "light"))
    other = WordEncoder()
    other.name = "another"

    with TranscriptDatabase(url, other) as database:
        assert database.search("light") == []


def test_without_a_sentence_model_records_are_stored_and_searching_says_why_not(url: str) -> None:
    """The remedy is in the message."""
    with TranscriptDatabase(url) as database:
        database.store(record("a-1", "light"))
        with pytest.raises(SinkFailed, match="name one"):
            database.search("light")


def test_a_recording_without_words_is_a_recording(url: str) -> None:
    """Silence has a row and no passages."""
    with TranscriptDatabase(url, WordEncoder()) as database:
        database.store(record("silent"))

        assert database.known() == {"silent"}
        assert database.search("anything") == []


def test_many_passages_are_searched_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of all, though only a few are in memory at a time."""
    monkeypatch.setattr(database_module, "BATCH_ROWS", 7)
    said = [f"word{number} thing{number}" for number in range(50)]
    with TranscriptDatabase(str(tmp_path / "t.sqlite3"), WordEncoder()) as database:
        database.store(record("a-1", *said, "let there be light"))

        assert database.search("let there be light", most=3)[0].text == "let there be light"


def test_a_database_out_of_reach_is_said_in_one_line(tmp_path: Path) -> None:
    """Wrong folder, no server."""
    for address in (
        str(tmp_path / "nowhere" / "t.sqlite3"),
        "postgresql+psycopg://127.0.0.1:9/none?connect_timeout=2",
    ):
        with pytest.raises(SinkFailed) as caught:
            TranscriptDatabase(address)
        assert "\n" not in str(caught.value)


def test_passages_join_neighbours_of_one_speaker() -> None:
    """Never two speakers, never too long, never empty."""
    segments = [
        Passage(0, 1, " one ", "A"),
        Passage(1, 2, "", "A"),
        Passage(2, 3, "two", "A"),
        Passage(3, 4, "three", "B"),
        Passage(4, 5, "x" * 299, "B"),
    ]

    joined = passages_of(segments)

    assert [(one.start_s, one.end_s, one.text, one.speaker) for one in joined] == [
        (0, 3, "one two", "A"),
        (3, 4, "three", "B"),
        (4, 5, "x" * 299, "B"),
    ]


def test_an_address_without_a_driver_is_enough(postgres_url: str) -> None:
    """As PostgreSQL's own tools write it."""
    with TranscriptDatabase(postgres_url.replace("+psycopg", "")) as database:
        database.store(record("plain", "light"))
        assert "plain" in database.known()
