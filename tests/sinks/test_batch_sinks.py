"""A batch whose transcripts go further: to a database, to S3, through an entity service."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import boto3
import pytest
from sqlalchemy import create_engine, text
from support.batch_runs import Place
from support.entity_server import finding

from pipelines.sinks.database import TranscriptDatabase
from pipelines.sinks.embedding import SentenceEncoder

pytestmark = pytest.mark.usefixtures("aws_account")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Two recordings."""
    place = Place(tmp_path)
    for name, words in {"a.mp3": "let there be light", "deep/b.mp3": "blessed poor"}.items():
        place.record(name)
        (place.input / name).write_text(words)
    return place


@pytest.fixture
def bucket(aws_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An address in S3 whose bucket is not there yet."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws_url)
    return f"{tmp_path.name.replace('_', '-')[:40].lower()}-{time.monotonic_ns()}"


def keys(bucket: str) -> list[str]:
    """What lies in a bucket."""
    return [
        one["Key"] for one in boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    ]


def stored(place: Place) -> dict[str, list[str]]:
    """Which sinks took which file in the last run."""
    return {event["name"]: event["sinks"] for event in place.events if event["event"] == "stored"}


def names_in(database: Path) -> list[str]:
    """Recordings in a SQLite database."""
    engine = create_engine(f"sqlite:///{database}")
    with engine.connect() as connection:
        found = list(connection.scalars(text("SELECT name FROM recordings ORDER BY name")))
    engine.dispose()
    return found


def test_transcripts_go_to_every_sink_that_was_asked_for_and_once(
    place: Place, bucket: str, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database is made where none is named; vectors come when there is a model; then nothing is left to do."""
    boto3.client("s3").create_bucket(Bucket=bucket)
    (place.input / "a.mp3").write_text("let there be Light")
    cloud = ["--entities", "comprehend", "--upload", f"s3://{bucket}/talks"]
    flags = ["--embeddings", str(model_dir), *cloud]
    absent = ["--embeddings", str(place.home / "absent"), *cloud]
    with finding() as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_COMPREHEND", service.url)
        assert place.run(*absent).exit_code == 0
        asked = len(service.asked)
        most = ["database", "entities", "upload"]
        assert stored(place) == {"a.mp3": most, "deep/b.mp3": most}
        assert place.events[-1]["warnings"] == {"embeddings: MODEL_UNAVAILABLE": 2}
        assert names_in(place.output / "transcripts.sqlite3") == ["a.mp3", "deep/b.mp3"]
        assert place.run(*flags).exit_code == 0
        assert stored(place) == {"a.mp3": ["embeddings"], "deep/b.mp3": ["embeddings"]}
        assert place.events[-1]["sinks_left"] == 0
        assert place.run(*flags).exit_code == 0
        assert stored(place) == {}
        assert place.run(*cloud, "--redo-sinks").exit_code == 0
        assert len(stored(place)) == 2
        assert len(service.asked) == asked

    assert sorted(place.said()) == ["blessed poor", "let there be Light"]
    entities = json.loads((place.output / "a.mp3_entities.json").read_text("utf-8"))["entities"]
    assert [one["text"] for one in entities if one["kind"] == "PERSON"] == ["Light"]
    expected = ["_entities.json", "_formatted.txt", ".json", ".srt", ".txt"]
    assert sorted(keys(bucket)) == sorted(
        f"talks/{name}/{Path(name).name}{ending}"
        for name in ("a.mp3", "deep/b.mp3")
        for ending in expected
    )
    assert len(list(place.output.glob("transcripts.sqlite3*"))) == 1
    with TranscriptDatabase(
        str(place.output / "transcripts.sqlite3"), SentenceEncoder(str(model_dir))
    ) as database:
        assert [hit.name for hit in database.search("blessed poor")] == ["deep/b.mp3", "a.mp3"]


def test_a_sink_that_fails_is_a_warning_and_caught_up_without_the_model(
    place: Place, bucket: str
) -> None:
    """The others are done; the transcript is never in danger."""
    flags = ["--database", str(place.home / "t.sqlite3"), "--upload", f"s3://{bucket}"]
    assert place.run(*flags).exit_code == 0
    assert stored(place) == {"a.mp3": ["database"], "deep/b.mp3": ["database"]}
    assert place.events[-1]["warnings"] == {"upload: SINK_FAILED": 2}
    assert place.events[-1]["sinks_left"] == 2

    boto3.client("s3").create_bucket(Bucket=bucket)
    assert place.run(*flags).exit_code == 0
    assert stored(place) == {"a.mp3": ["upload"], "deep/b.mp3": ["upload"]}
    assert len(keys(bucket)) == 8
    assert len(place.said()) == 2
    assert names_in(place.home / "t.sqlite3") == ["a.mp3", "deep/b.mp3"]


def test_a_kill_between_files_and_sinks_loses_nothing(
    place: Place, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run gives the stored JSON; nothing is transcribed again."""
    with socket.create_server(("127.0.0.1", 0)) as silent, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{silent.getsockname()[1]}")
        process = place.start("--upload", f"s3://{bucket}")
        journal = place.input / "batch_state.journal"
        deadline = time.monotonic() + 60
        while not journal.exists() or journal.read_text("utf-8").count('"complete"') < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.communicate()

    boto3.client("s3").create_bucket(Bucket=bucket)
    assert place.run("--upload", f"s3://{bucket}").exit_code == 0
    assert len(keys(bucket)) == 8
    assert len(place.said()) == 2


def test_a_sink_that_keeps_failing_is_left_alone(tmp_path: Path) -> None:
    """Ten thousand files do not wait for a server that is gone."""
    place = Place(tmp_path)
    place.record(*(f"{n}.mp3" for n in range(14)))
    nowhere = "postgresql+psycopg://user:secret@127.0.0.1:9/none?connect_timeout=2"
    assert place.run("--database", nowhere).exit_code == 0
    warnings = place.events[-1]["warnings"]
    assert 5 <= warnings["database: SINK_FAILED"] < 14
    assert warnings["database: SINK_LEFT_ALONE"] == 1
    assert place.events[-1]["sinks_left"] == 14
    assert set(place.statuses().values()) == {"complete"}
    assert "secret" not in place.state_path.read_text("utf-8")


def test_collections_stand_beside_each_other(place: Place) -> None:
    """Files of the same name in two archives are two records; one that changes is still one."""
    database = place.home / "t.sqlite3"
    place.run("--database", str(database))
    place.run("--database", str(database), "--collection", "talks")
    assert stored(place) == {"a.mp3": ["database"], "deep/b.mp3": ["database"]}
    (place.input / "a.mp3").write_text("let there be more light")
    place.run("--database", str(database), "--collection", "talks")
    assert stored(place) == {"a.mp3": ["database"]}
    assert names_in(database) == ["a.mp3", "a.mp3", "deep/b.mp3", "deep/b.mp3"]
    assert len(place.said()) == 3
