"""Files to S3 and entities from Comprehend, over real HTTP."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from support.entity_server import finding

from pipelines.sinks import aws
from pipelines.sinks.aws import EntityFinder, S3Upload
from pipelines.sinks.record import Passage, Record, SinkFailed

pytestmark = pytest.mark.usefixtures("aws_account")


def record(files: tuple[Path, ...] = (), language: str = "en", *said: str) -> Record:
    """A recording with files and passages."""
    return Record(
        asset_id="a-1",
        name="talk.mp3",
        source="talk.mp3",
        text=" ".join(said),
        language=language,
        duration_s=1.0,
        passages=tuple(Passage(0.0, 1.0, words) for words in said),
        files=files,
    )


def test_files_lie_under_the_recordings_id(aws_url: str, files: tuple[Path, ...]) -> None:
    """A second upload replaces them."""
    client = boto3.client("s3", endpoint_url=aws_url)
    client.create_bucket(Bucket="transcripts")
    sink = S3Upload("s3://transcripts/2026/talks", endpoint=aws_url)

    sink.store(record(files))
    files[0].write_text("corrected\n")
    sink.store(record(files))

    stored = client.list_objects_v2(Bucket="transcripts")["Contents"]
    assert [one["Key"] for one in stored] == [
        "2026/talks/a-1/talk.srt",
        "2026/talks/a-1/talk.txt",
    ]
    found = client.get_object(Bucket="transcripts", Key="2026/talks/a-1/talk.txt")
    assert found["Body"].read() == b"corrected\n"
    assert found["ContentType"] == "text/plain"


def test_a_bucket_that_is_not_there_is_said(aws_url: str, files: tuple[Path, ...]) -> None:
    """With the file's name; and what is no bucket at all, at once."""
    with pytest.raises(SinkFailed, match=r"talk\.txt could not be uploaded"):
        S3Upload("s3://nowhere/x", endpoint=aws_url).store(record(files))
    with pytest.raises(SinkFailed, match="s3://bucket/prefix"):
        S3Upload("/a/folder")


def test_entities_and_key_phrases_come_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long transcripts are asked about in parts, with the same result; a busy service is asked again."""
    talk = record((), "en", "Alice met Bob in Paris.", "Then Bob went to Berlin.")
    with finding(broken=1) as server:
        whole = EntityFinder(endpoint=server.url).find(talk)
        monkeypatch.setattr(aws, "MOST_BYTES", 30)
        in_parts = EntityFinder(endpoint=server.url).find(talk)
        assert all(len(text.encode()) <= 30 for text in server.asked[2:])

    people = {one.text for one in whole if one.kind == "PERSON"}
    assert people == {"Alice", "Bob", "Paris", "Then", "Berlin"}
    assert aws.KEY_PHRASE in {one.kind for one in whole}
    assert len({(one.kind, one.text) for one in whole}) == len(whole)
    assert set(in_parts) == set(whole)


def test_a_language_that_the_service_does_not_know_is_left_alone() -> None:
    """Nothing is sent: the address would not answer."""
    finder = EntityFinder(endpoint="http://127.0.0.1:9")

    assert finder.find(record((), "tpi", "Jisas i tok")) == ()
