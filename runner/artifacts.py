"""Large results of a child: files it leaves in its folder, named by size and SHA-256 in what it returns.

    child   Artifact.of(folder, "text.json") ─► to_json() ─► frame
    parent  Artifact.parse(…) ─► check(folder): opened beneath the folder, no links, size and digest compared

Knows no child and no stage. A file that is not what was announced is refused, never repaired.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Self

from runner.frames import JsonObject


class ArtifactError(Exception):
    """A file that is missing, lies elsewhere, or is not what was announced."""

    code = "CHILD_PROTOCOL"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a folder that both sides know."""

    name: str
    """Relative to the folder, with forward slashes."""
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, folder: Path, name: str) -> Self:
        """Describe a file that is complete."""
        with open_beneath(folder, name) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(name, os.fstat(file.fileno()).st_size, digest)

    @classmethod
    def parse(cls, fields: object) -> Self:
        """Read what `to_json` wrote on the other side.

        Raises:
            ArtifactError: it is no description of a file.
        """
        match fields:
            case {"name": str(name), "size_bytes": int(size_bytes), "sha256": str(sha256)}:
                return cls(name, size_bytes, sha256)
        raise ArtifactError(f"expected name, size_bytes and sha256, got {str(fields)[:200]}")

    def to_json(self) -> JsonObject:
        """Plain data for a frame."""
        return asdict(self)

    def check(self, folder: Path) -> None:
        """Compare the file with its description.

        Raises:
            ArtifactError: it is missing, lies outside, or differs.
        """
        found = type(self).of(folder, self.name)
        if found != self:
            raise ArtifactError(
                f"{self.name}: announced {self.size_bytes} bytes {self.sha256[:12]},"
                f" found {found.size_bytes} bytes {found.sha256[:12]}"
            )


@contextmanager
def open_beneath(folder: Path, name: str) -> Iterator[BufferedReader]:
    """Open a regular file below a folder without following any link on the way.

    Raises:
        ArtifactError: the name leads elsewhere, or there is no such file.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise ArtifactError(f"{name!r} is no name below the folder")
    try:
        descriptor = _open_parts(folder, parts)
    except OSError as error:
        raise ArtifactError(f"{name!r} cannot be opened: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ArtifactError(f"{name!r} is no regular file")
        yield file


def _open_parts(folder: Path, parts: tuple[str, ...]) -> int:
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for position, part in enumerate(parts, start=1):
        kind = os.O_DIRECTORY if position < len(parts) else os.O_NONBLOCK
        try:
            below = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here
