"""A repository archive read as it streams in: the few small files a job needs, and nothing on disk.

Knows no server; it is given chunks of a tar.gz. Media never stays in memory: what is not a pointer in
a pointer's place is handed to the object cache, and everything else is skipped as it passes.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from gitlab_jobs.errors import StoreError
from gitlab_jobs.gitlab_errors import RequestFailed
from gitlab_jobs.lfs import MAX_POINTER_BYTES, Pointer, parse_pointer
from gitlab_jobs.paths import ATTACHMENT_POINTERS, ATTACHMENTS, is_notebook_path

ROOT_FILES = frozenset({".gitattributes", "metadata.json"})
MAX_FILE_BYTES = 64 << 20
MAX_KEPT_BYTES = 512 << 20
MAX_STREAM_BYTES = 1 << 30
READ_BYTES = 256 << 10


class ArchiveTooLarge(StoreError):
    """More than we are willing to receive in one piece."""


def read_archive(
    chunks: Iterator[bytes],
    keep_bytes: Callable[[bytes], Pointer],
    max_bytes: int = MAX_STREAM_BYTES,
) -> dict[str, bytes]:
    """Read notebooks, pointers and root files from a tar.gz.

    Args:
        chunks: the archive as it arrives.
        keep_bytes: stores raw audio found in a pointer's place and returns its pointer, whose text
            then stands for it in the result.
        max_bytes: how much compressed archive to accept.

    Raises:
        ArchiveTooLarge: the archive, or what would have to be kept of it, is beyond the limits.
        RequestFailed: the archive is damaged or cut off.
    """
    kept: dict[str, bytes] = {}
    total = 0
    try:
        with (
            gzip.GzipFile(fileobj=io.BufferedReader(_Chunks(chunks, max_bytes))) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|") as archive,
        ):
            for member in archive:
                content = _content(archive, member, keep_bytes)
                if content is None:
                    continue
                total += len(content)
                if total > MAX_KEPT_BYTES:
                    raise ArchiveTooLarge(f"the project's text is over {MAX_KEPT_BYTES} bytes")
                kept[_path(member)] = content
            # The checksum is at the end, behind the padding that tar does not look at.
            while unpacked.read(READ_BYTES):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise RequestFailed(f"a damaged archive: {error}", sent=True) from error
    return kept


class _Chunks(io.RawIOBase):
    """An iterator of bytes as a file, counted."""

    def __init__(self, chunks: Iterator[bytes], max_bytes: int) -> None:
        self._chunks = chunks
        self._rest = b""
        self._left = max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the stub wants Buffer
        if not self._rest:
            self._rest = next(self._chunks, b"")
            self._left -= len(self._rest)
            if self._left < 0:
                raise ArchiveTooLarge("the repository's archive is too large to read whole")
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _path(member: tarfile.TarInfo) -> str:
    """The repository path: the archive puts everything into one folder named after the revision."""
    return member.name.partition("/")[2]


def _content(
    archive: tarfile.TarFile, member: tarfile.TarInfo, keep_bytes: Callable[[bytes], Pointer]
) -> bytes | None:
    path = _path(member)
    if not member.isreg() or member.size > MAX_FILE_BYTES:
        return None
    if path in ROOT_FILES or is_notebook_path(path):
        return _bytes(archive, member)
    if not path.startswith(ATTACHMENTS) or member.size == 0:
        return None
    may_be_raw = path.startswith(ATTACHMENT_POINTERS)
    if member.size > MAX_POINTER_BYTES and not may_be_raw:
        return None
    content = _bytes(archive, member)
    if parse_pointer(content) is not None:
        return content
    return keep_bytes(content).text() if may_be_raw else None


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file: IO[bytes] | None = archive.extractfile(member)
    return file.read() if file is not None else b""
