"""Content for the browser: files of a repository, LFS objects behind pointers, byte ranges, media types.

What is served never runs: text is plain text, sound is sound by its first bytes, the rest is a
download. Knows no templates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from devserver.lfs_store import LfsStore, parse_pointer
from devserver.world import Project, World

_BINARY_PROBE_BYTES = 8000
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_NO_SCRIPTS = {"Content-Security-Policy": "default-src 'none'; media-src 'self'; sandbox"}


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file as a reader wants it: the object behind a pointer, if the project has it."""

    path: str
    blob_id: str
    blob: bytes
    object_path: Path | None

    @property
    def size(self) -> int:
        """The size in bytes of what is served."""
        return len(self.blob) if self.object_path is None else self.object_path.stat().st_size

    @property
    def is_text(self) -> bool:
        """Whether it can be shown as text."""
        return self.object_path is None and b"\0" not in self.blob[:_BINARY_PROBE_BYTES]

    @property
    def audio_type(self) -> str | None:
        """The media type, if this is sound."""
        return sniff_audio(self.head())

    def head(self) -> bytes:
        """Return the first bytes."""
        if self.object_path is None:
            return self.blob[:64]
        with self.object_path.open("rb") as file:
            return file.read(64)

    def text(self) -> str:
        """Return the content as text."""
        return self.blob.decode("utf-8", "replace")

    def response(self, request: Request, media_type: str, disposition: str) -> Response:
        """Send the content, or the range of it that was asked for."""
        name = self.path.rpartition("/")[2]
        if self.object_path is not None:
            return FileResponse(
                self.object_path,
                media_type=media_type,
                headers=_NO_SCRIPTS,
                filename=name,
                content_disposition_type=disposition,
            )
        headers = {**_NO_SCRIPTS, "Content-Disposition": disposition, "Accept-Ranges": "bytes"}
        return _ranged(request, self.blob, media_type, headers)


def read_file(world: World, project: Project, ref: str, path: str) -> FileContent | None:
    """Find a file at a ref and what is behind it."""
    found = world.repository(project).read_blob(ref, path)
    if found is None:
        return None
    blob_id, blob = found
    pointer = parse_pointer(blob) if project.lfs_enabled else None
    object_path = None
    if pointer is not None and world.lfs_size(project, pointer.oid) is not None:
        object_path = LfsStore(world.root).path(pointer.oid)
    return FileContent(
        path, blob_id, blob, object_path if object_path and object_path.is_file() else None
    )


def sniff_audio(head: bytes) -> str | None:
    """Name the media type of sound by its first bytes; extensions lie."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio/wav"
    if head[4:8] == b"ftyp":
        return "audio/mp4"
    for magic, media_type in (
        (b"OggS", "audio/ogg"),
        (b"fLaC", "audio/flac"),
        (b"\x1a\x45\xdf\xa3", "audio/webm"),
        (b"ID3", "audio/mpeg"),
    ):
        if head.startswith(magic):
            return media_type
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "audio/aac" if head[1] & 0x06 == 0 else "audio/mpeg"
    return None


def _ranged(request: Request, content: bytes, media_type: str, headers: dict[str, str]) -> Response:
    match = _RANGE.match(request.headers.get("range", ""))
    if match is None or match.groups() == ("", ""):
        return Response(content, 200, headers, media_type)
    size, (first, last) = len(content), match.groups()
    if first:
        start, end = int(first), min(int(last or size - 1), size - 1)
    else:
        start, end = max(0, size - int(last)), size - 1
    if start > end:
        return Response(b"", 416, {**headers, "Content-Range": f"bytes */{size}"}, media_type)
    headers = {**headers, "Content-Range": f"bytes {start}-{end}/{size}"}
    return Response(content[start : end + 1], 206, headers, media_type)
