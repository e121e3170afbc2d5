"""Searching transcripts from the command line, by a real sentence model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

import batch_entry
from pipelines.sinks.database import TranscriptDatabase
from pipelines.sinks.embedding import SentenceEncoder
from pipelines.sinks.record import Passage, Record


def record(asset_id: str, *said: str) -> Record:
    """A recording with a passage every half hour."""
    return Record(
        asset_id=asset_id,
        name=f"{asset_id}.mp3",
        source=f"folder/{asset_id}.mp3",
        text=" ".join(said),
        language="en",
        duration_s=1.0,
        passages=tuple(Passage(n * 1801.5, n * 1801.5 + 2, words) for n, words in enumerate(said)),
    )


@pytest.fixture(params=["sqlite", "pgvector"])
def database(request: pytest.FixtureRequest, tmp_path: Path, model_dir: Path) -> str:
    """Two recordings with vectors, in either kind of database."""
    address = str(tmp_path / "t.sqlite3")
    if request.param == "pgvector":
        address = request.getfixturevalue("postgres_url")
        engine = create_engine(address)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS entities, passages, recordings CASCADE"))
        engine.dispose()
    with TranscriptDatabase(address, SentenceEncoder(str(model_dir))) as opened:
        opened.store(record("a", "let there be light", "and light was there", "be 100% Blessed"))
        opened.store(record("b", "blessed poor", "poor poor blessed"))
    return address


def test_the_best_passages_are_shown_with_file_time_score_and_text(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Best first; for programs one JSON object per line."""
    assert batch_entry.main(["search", "--database", database, "blessed", "poor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [" 1.00  00:00:00  b.mp3", "       blessed poor"]
    assert len(lines) == 2 * 5

    argv = ["search", "--database", database, "--json", "--most", "2", "and light was there"]
    assert batch_entry.main(argv) == 0
    best, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (best["name"], best["start_s"], best["text"]) == (
        "a.mp3", 1801.5, "and light was there",
    )  # fmt: skip
    assert best["likeness"] == pytest.approx(1.0, abs=1e-4)
    assert second["likeness"] < best["likeness"]


def test_words_are_found_as_they_are_written(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever their case; no sign means anything but itself."""
    assert batch_entry.main(["search", "--database", database, "--words", "BLESSED", "0%"]) == 0
    assert "01:00:03  a.mp3" in capsys.readouterr().out
    assert batch_entry.main(["search", "--database", database, "--words", "bl_ssed"]) == 0
    assert capsys.readouterr().out == ""


def test_what_is_missing_is_said(
    tmp_path: Path, model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No database (and none is made), no vectors, a model that is gone, several models."""
    place = str(tmp_path / "t.sqlite3")
    ask = ["search", "--database", place, "light"]
    assert batch_entry.main(ask) == 66
    assert not Path(place).exists()

    with TranscriptDatabase(place) as opened:
        opened.store(record("a", "light"))
    assert batch_entry.main(ask) == 69
    assert "--embeddings MODEL" in capsys.readouterr().err

    encoder = SentenceEncoder(str(model_dir), name="/gone/model")
    with TranscriptDatabase(place, encoder) as opened:
        opened.store(record("b", "light"))
    assert batch_entry.main(ask) == 69
    assert "/gone/model" in capsys.readouterr().err
    assert batch_entry.main([*ask, "--embeddings", str(model_dir)]) == 0

    with TranscriptDatabase(place, SentenceEncoder(str(model_dir))) as opened:
        opened.store(record("c", "light"))
    assert batch_entry.main(ask) == 64
    assert f"{model_dir} (1)" in capsys.readouterr().err
