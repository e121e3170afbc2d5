"""What lies behind an address: files listed, and read from any byte on.

    s3://            boto3: the credentials, region and endpoint of the AWS chain
    http(s)://       requests; a page of links is a folder (fsspec)
    anything else    fsspec

A reader goes on where it broke off, but only in the same version of a file. Knows no recording and no retries.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import fsspec
import requests
from fsspec.core import url_to_fs

TIMEOUTS_S = (10.0, 120.0)
"""To connect, and between two pieces of an answer."""
_BLOCK = 1 << 20
_GONE = frozenset({401, 403, 404, 410})
_CHANGED = frozenset({412, 416})
"""What a server answers to somebody who wants the rest of a file that is another one by now."""
_S3_LOCK = threading.Lock()
_WEB = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Listed:
    """A file at an address; `name` is relative to what was listed."""

    name: str
    location: str
    size: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of a file from `start` on."""

    start: int
    blocks: Iterator[bytes]


class Reader(Protocol):
    """Reads one file, in several tries if need be."""

    def opened(self, offset: int) -> Any:
        """A context manager with a `Part`, which begins at the offset, or at 0 if that cannot be had.

        Raises:
            FileNotFoundError, PermissionError: there is no such file for us.
            Exception: the library's own, where the other side or the line fails.
        """


def listed(url: str) -> Iterator[Listed]:
    """List the files at an address, at any depth; a file is a list of one.

    Raises:
        OSError: nothing is there, or the other side does not answer.
        ValueError: no such kind of address.
        ImportError: what would speak with it is not installed.
    """
    if url.startswith("s3://"):
        return _listed_s3(url)
    return _listed_web(url) if url.startswith(_WEB) else _listed_any(url)


def reader(location: str) -> Reader:
    """What reads the file at an address."""
    if location.startswith("s3://"):
        return S3Reader(location)
    return WebReader(location) if location.startswith(_WEB) else AnyReader(location)


class S3Reader:
    """Reads an object."""

    def __init__(self, location: str) -> None:
        self._bucket, _, self._key = location.removeprefix("s3://").partition("/")
        self._version = ""

    @contextmanager
    def opened(self, offset: int) -> Iterator[Part]:
        """Open; see `Reader`."""
        start = offset if self._version else 0
        with _s3() as client:
            try:
                reply = self._get(client, start)
            except _Changed:
                start = 0
                reply = self._get(client, start)
            self._version = reply["ETag"]
            with closing(reply["Body"]) as body:
                yield Part(start, body.iter_chunks(_BLOCK))

    def _get(self, client: Any, start: int) -> Any:
        rest = {"Range": f"bytes={start}-", "IfMatch": self._version} if start else {}
        with _s3_errors():
            return client.get_object(Bucket=self._bucket, Key=self._key, **rest)


class WebReader:
    """Reads what a web server has."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._version = ""

    @contextmanager
    def opened(self, offset: int) -> Iterator[Part]:
        """Open; see `Reader`."""
        headers = {"Accept-Encoding": "identity"}
        if offset and self._version:
            headers |= {"Range": f"bytes={offset}-", "If-Range": self._version}
        with requests.get(
            self._location, headers=headers, stream=True, timeout=TIMEOUTS_S
        ) as reply:
            if reply.status_code in _GONE:
                raise FileNotFoundError(f"{reply.status_code} {reply.reason}")
            if reply.status_code in _CHANGED:
                self._version = ""
            reply.raise_for_status()
            tag = reply.headers.get("ETag", "")
            # A weak tag does not promise the same bytes.
            self._version = "" if tag.startswith("W/") else tag
            is_rest = reply.status_code == requests.codes.partial_content
            # What has come, not a full block: a source that drips would never fill one.
            blocks = iter(lambda: reply.raw.read1(_BLOCK), b"")
            yield Part(offset if is_rest else 0, blocks)


class AnyReader:
    """Reads whatever fsspec opens, always from the beginning: it tells no versions."""

    def __init__(self, location: str) -> None:
        self._location = location

    @contextmanager
    def opened(self, offset: int) -> Iterator[Part]:  # noqa: ARG002 - see above
        """Open; see `Reader`."""
        with fsspec.open(self._location, "rb") as source:
            yield Part(0, iter(lambda: source.read(_BLOCK), b""))


def _listed_s3(url: str) -> Iterator[Listed]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    below = f"{key.rstrip('/')}/" if key.rstrip("/") else ""
    with _s3() as client:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
            for found in page.get("Contents", ()):
                path: str = found["Key"]
                if path == key or path.startswith(below):
                    mtime_ns = int(found["LastModified"].timestamp()) * 10**9
                    name = path.rpartition("/")[2] if path == key else path.removeprefix(below)
                    yield Listed(name, f"s3://{bucket}/{path}", found["Size"], mtime_ns)


def _listed_web(url: str) -> Iterator[Listed]:
    """A page of links, if the server shows one there; otherwise one file."""
    # Not HEAD: an address that was signed for reading refuses it.
    with requests.get(url, stream=True, timeout=TIMEOUTS_S) as reply:
        reply.raise_for_status()
        kind = reply.headers.get("Content-Type", "").partition(";")[0]
        size = reply.headers.get("Content-Length")
        folder = f"{reply.url.rpartition('/')[0]}/"
    if kind == "text/html":
        yield from _linked(folder)
    else:
        name = unquote(urlsplit(url).path).rpartition("/")[2]
        yield Listed(name, url, int(size) if size else None)


def _linked(folder: str) -> Iterator[Listed]:
    from aiohttp import ClientError

    files, root = url_to_fs(folder)
    try:
        found = files.find(root, detail=True)
    except ClientError as error:
        raise OSError(str(error)) from error
    for location, facts in found.items():
        name = unquote(location.removeprefix(folder)).strip("/")
        yield Listed(name, location, facts.get("size"))


def _listed_any(url: str) -> Iterator[Listed]:
    files, root = url_to_fs(url)
    found = {root: files.info(root)} if files.isfile(root) else files.find(root, detail=True)
    for path, facts in found.items():
        name = path.removeprefix(root).strip("/") or path.rpartition("/")[2]
        yield Listed(name, files.unstrip_protocol(path), facts.get("size"))


@contextmanager
def _s3() -> Iterator[Any]:
    """A client for one listing or file; a session remembers what is dear about making one."""
    from botocore.config import Config

    connect_s, read_s = TIMEOUTS_S
    retries = {"mode": "standard", "total_max_attempts": 3}
    config = Config(retries=retries, connect_timeout=connect_s, read_timeout=read_s)
    with _S3_LOCK:
        client = _s3_session().client("s3", config=config)
    with closing(client), _s3_errors():
        yield client


@cache
def _s3_session() -> Any:
    import boto3

    return boto3.session.Session()


class _Changed(Exception):
    """The object is another one than before."""


@contextmanager
def _s3_errors() -> Iterator[None]:
    """Its library's errors in the words of the file system."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status in _CHANGED:
            raise _Changed from error
        if status in _GONE:
            kind = FileNotFoundError if status == requests.codes.not_found else PermissionError
            raise kind(str(error)) from error
        raise OSError(str(error)) from error
    except BotoCoreError as error:
        raise OSError(str(error)) from error
