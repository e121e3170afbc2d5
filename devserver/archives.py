"""Streams a snapshot of a tree as tar, compressed tar or zip, member by member.

What goes in comes as `Member`s; where content comes from (Git or large objects) is the caller's
business. Memory is bounded by one chunk, whatever the size of a member. The tar form is that of
`git archive`: a global header with the commit id, then directories before what is in them.
"""

from __future__ import annotations

import bz2
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_BLOCK = tarfile.BLOCKSIZE
_FILE_MODE, _DIRECTORY_MODE = 0o664, 0o775
_GZIP_WINDOW = 31

Chunks = Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Member:
    """A file (with its size and content) or a directory (content None)."""

    path: str
    size: int = 0
    content: Callable[[], Chunks] | None = None
    executable: bool = False

    @property
    def mode(self) -> int:
        """The permission bits."""
        return _DIRECTORY_MODE if self.content is None or self.executable else _FILE_MODE


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an archive holds: members below a top folder, all dated like the commit."""

    prefix: str
    commit_id: str
    at: datetime
    members: Iterable[Member]


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def tar(snapshot: Snapshot) -> Iterator[bytes]:
    """Yield an uncompressed tar."""
    yield tarfile.TarInfo.create_pax_global_header({"comment": snapshot.commit_id})
    for member in _under_prefix(snapshot):
        info = tarfile.TarInfo(member.path)
        info.mode = member.mode
        info.mtime = int(snapshot.at.timestamp())
        info.uname = info.gname = "root"
        if member.content is None:
            info.type = tarfile.DIRTYPE
            info.name += "/"
        info.size = member.size
        yield info.tobuf(tarfile.PAX_FORMAT)
        yield from member.content() if member.content is not None else ()
        yield bytes(-member.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def tar_gz(snapshot: Snapshot) -> Iterator[bytes]:
    """Yield a gzip-compressed tar."""
    return _compressed(tar(snapshot), zlib.compressobj(wbits=_GZIP_WINDOW))


def tar_bz2(snapshot: Snapshot) -> Iterator[bytes]:
    """Yield a bzip2-compressed tar."""
    return _compressed(tar(snapshot), bz2.BZ2Compressor())


def zipped(snapshot: Snapshot) -> Iterator[bytes]:
    """Yield a zip; sizes follow the data, so nothing is held back."""
    sink = _Sink()
    date_time = snapshot.at.astimezone(UTC).timetuple()[:6]
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = snapshot.commit_id.encode()
        for member in _under_prefix(snapshot):
            is_directory = member.content is None
            info = zipfile.ZipInfo(member.path + "/" * is_directory, date_time)
            info.compress_type = zipfile.ZIP_DEFLATED
            kind = stat.S_IFDIR if is_directory else stat.S_IFREG
            info.external_attr = (kind | member.mode) << 16
            with archive.open(info, "w", force_zip64=True) as target:
                for chunk in member.content() if member.content is not None else ():
                    target.write(chunk)
                    yield sink.take()
            yield sink.take()
    yield sink.take()


def _under_prefix(snapshot: Snapshot) -> Iterator[Member]:
    yield Member(snapshot.prefix)
    for member in snapshot.members:
        path = f"{snapshot.prefix}/{member.path}"
        yield Member(path, member.size, member.content, member.executable)


def _compressed(chunks: Iterator[bytes], compressor: _Compressor) -> Iterator[bytes]:
    for chunk in chunks:
        if packed := compressor.compress(chunk):
            yield packed
    yield compressor.flush()


class _Sink(io.RawIOBase):
    """A file that cannot be sought in and gives away what was written."""

    def __init__(self) -> None:
        super().__init__()
        self._pending = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        taken = bytes(data)
        self._pending += taken
        return len(taken)

    def take(self) -> bytes:
        taken = bytes(self._pending)
        self._pending.clear()
        return taken
