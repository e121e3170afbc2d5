"""Recordings at addresses: in S3, on web servers, behind file://."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.batch_runs import Place
from support.http_stub import HttpStub, Reply, Request
from support.object_store import object_store
from support.relay import Relay

from batch.errors import InputMissing
from batch.recordings import fetch
from batch.recordings.addresses import reader
from batch.recordings.source import Asset, discover

LARGE = bytes(range(256)) * 12_000
"""Three megabytes."""


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """An object store."""
    with object_store() as url:
        yield url


@pytest.fixture
def s3(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client, in the environment that a batch finds."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(fetch, "LONGEST_WAIT_S", 0.01)
    with closing(boto3.client("s3")) as client:
        client.create_bucket(Bucket=bucket_of(tmp_path))
        yield client


def bucket_of(tmp_path: Path) -> str:
    """A bucket for each test."""
    return f"b-{tmp_path.name.replace('_', '-').lower()}"[:60].rstrip("-")


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Python's own, which shows folders as pages of links."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def answer_ranges(request: Request) -> Reply:
    """A web server that can go on in the middle."""
    tag = {"ETag": '"v1"'}
    wanted = request.headers.get("Range")
    if wanted and request.headers.get("If-Range") == '"v1"':
        return Reply(206, LARGE[int(wanted.removeprefix("bytes=").rstrip("-")) :], tag)
    return Reply(200, LARGE, tag)


def test_a_bucket_is_an_input(s3: Any, tmp_path: Path) -> None:
    """Names below the prefix only; what was done is not fetched again; another recording of that name is."""
    bucket = bucket_of(tmp_path)
    for key in ("talks/a.mp3", "talks/deep/b.flac", "talks/notes.txt", "talks-old/c.mp3"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    place = Place(tmp_path)
    argv = ["--input", f"s3://{bucket}/talks", "--output", str(place.output), "--gpus", "none"]
    assert place.run_argv([*argv, "--json"]).exit_code == 0
    assert sorted(place.said()) == ["talks/a.mp3", "talks/deep/b.flac"]
    assert (place.output / "deep" / "b.flac.srt").exists()

    s3.put_object(Bucket=bucket, Key="talks/a.mp3", Body=b"something else")
    assert place.run_argv([*argv, "--json"]).exit_code == 0
    assert place.said()[2:] == ["something else"]
    assert [asset.name for asset in discover(f"s3://{bucket}/talks-old/c.mp3")] == ["c.mp3"]


def test_a_download_that_breaks_goes_on_where_it_was(
    s3: Any, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From S3 and from a web server: what has arrived is not brought again."""
    bucket = bucket_of(tmp_path)
    s3.put_object(Bucket=bucket, Key="a.wav", Body=LARGE)
    with Relay(store) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
        relay.cut_answers_after(2_500_000)
        asset = Asset("a.wav", f"s3://{bucket}/a.wav", len(LARGE))
        assert fetch.local_path(asset, tmp_path, 0).read_bytes() == LARGE
        assert relay.brought_bytes < 1.5 * len(LARGE)

    with HttpStub(answer_ranges) as server, Relay(server.url) as relay:
        relay.cut_answers_after(2_500_000)
        asset = Asset("a.wav", f"{relay.url}/a.wav", len(LARGE))
        assert fetch.local_path(asset, tmp_path, 1).read_bytes() == LARGE
        assert relay.brought_bytes < 1.5 * len(LARGE)


def test_a_recording_that_changes_meanwhile_is_read_from_its_beginning(
    s3: Any, tmp_path: Path
) -> None:
    """Never half of one and half of the other."""
    bucket = bucket_of(tmp_path)
    s3.put_object(Bucket=bucket, Key="a.wav", Body=b"the old one")
    source = reader(f"s3://{bucket}/a.wav")
    with source.opened(0) as part:
        assert b"".join(part.blocks) == b"the old one"
    with source.opened(4) as part:
        assert (part.start, b"".join(part.blocks)) == (4, b"old one")
    s3.put_object(Bucket=bucket, Key="a.wav", Body=b"the new one")
    with source.opened(4) as part:
        assert (part.start, b"".join(part.blocks)) == (0, b"the new one")


def test_what_is_not_in_the_store_fails_alone(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording with a code; a bucket, or a store that does not answer, before anything is begun."""
    bucket = bucket_of(tmp_path)
    s3.put_object(Bucket=bucket, Key="there.mp3", Body=b"there")
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"assets": [{"id": "there"}, {"id": "gone"}]}))
    place = Place(tmp_path)
    argv = [*place.argv_listed(listed), "--asset-url", f"s3://{bucket}/{{id}}.mp3", "--json"]
    assert place.run_argv(argv).exit_code == 80
    told = {event["name"]: event["code"] for event in place.events if event["event"] == "file"}
    assert told == {"there": None, "gone": "INPUT_MISSING"}

    with pytest.raises(InputMissing, match="NoSuchBucket"):
        discover("s3://nobody-has-this/talks")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InputMissing, match=r"127\.0\.0\.1:9"):
        discover(f"s3://{bucket}/talks")


def test_a_folder_of_a_web_server_is_an_input(tmp_path: Path) -> None:
    """Its pages of links are followed downwards; names are names again."""
    site = tmp_path / "site"
    (site / "talks" / "day 2").mkdir(parents=True)
    for name in ("talks/one.mp3", "talks/day 2/Ɖoë.flac", "talks/notes.txt", "other.mp3"):
        (site / name).write_bytes(name.encode())
    place = Place(tmp_path)
    with web_server(site) as url:
        for address in (f"{url}/talks", f"{url}/talks/"):
            assert sorted(asset.name for asset in discover(address)) == [
                "day 2/Ɖoë.flac",
                "one.mp3",
            ]
        (single,) = discover(f"{url}/other.mp3")
        assert (single.name, single.size) == ("other.mp3", 9)
        argv = ["--input", f"{url}/talks", "--output", str(place.output), "--gpus", "none"]
        assert place.run_argv(argv).exit_code == 0
        with pytest.raises(InputMissing, match="404"):
            discover(f"{url}/nothing/")
    assert sorted(place.said()) == ["talks/day 2/Ɖoë.flac", "talks/one.mp3"]
    assert (place.output / "day 2" / "Ɖoë.flac.srt").exists()


def test_a_file_address_is_a_folder(tmp_path: Path) -> None:
    """As local as a path."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.mp3").write_bytes(b"abc")
    (asset,) = discover(f"file://{tmp_path}")
    assert (asset.name, asset.size) == ("deep/a.mp3", 3)
    assert fetch.local_path(asset, tmp_path, 0).read_bytes() == b"abc"
