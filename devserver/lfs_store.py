"""The bytes of LFS objects on disk, and the pointer files that stand for them in git.

Objects are files named by their SHA-256 under `lfs/aa/bb/`, shared by all projects; which project
may use which is the world's business. Keeps nothing in memory, writes by rename: safe under threads,
processes and restarts. Knows no HTTP and no git. Pointer format: the Git LFS specification, version 1.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

POINTER_LIMIT_BYTES = 200
"""Blobs of this size or more are never looked at as pointers."""

_OID = re.compile(r"[0-9a-f]{64}\Z")
_POINTER = re.compile(
    rb"\Aversion https://git-lfs\.github\.com/spec/v1\n"
    rb"(?:ext-[^\n]*\n)*oid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>[0-9]{1,18})\n?\Z"
)


class MismatchError(ValueError):
    """The bytes received are not the object that was announced."""


class TooLargeError(ValueError):
    """More bytes arrived than were announced."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """An object by its SHA-256 (64 hex digits) and size in bytes."""

    oid: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> Pointer:
        """Name the object with this content."""
        return cls(hashlib.sha256(content).hexdigest(), len(content))

    def text(self) -> bytes:
        """Return the pointer file that stands for the object in git."""
        lines = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.oid}\n"
        return f"{lines}size {self.size}\n".encode("ascii")


def parse_pointer(content: bytes) -> Pointer | None:
    """Read a pointer file; None for anything else."""
    match = _POINTER.match(content) if len(content) < POINTER_LIMIT_BYTES else None
    return Pointer(match["oid"].decode(), int(match["size"])) if match else None


def is_oid(text: str) -> bool:
    """Tell whether the text can name an object."""
    return _OID.match(text) is not None


class Incoming:
    """An object being received: bytes go to a temporary file until they prove to be it."""

    def __init__(self, file: BinaryIO, expected: Pointer) -> None:
        self._file = file
        self._expected = expected
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, chunk: bytes) -> None:
        """Append a chunk; raises `TooLargeError` as soon as there is more than announced."""
        self._size += len(chunk)
        if self._size > self._expected.size:
            raise TooLargeError(f"more than {self._expected.size} bytes")
        self._digest.update(chunk)
        self._file.write(chunk)

    def verify(self) -> None:
        """Raise `MismatchError` unless size and hash are those announced."""
        if (self._size, self._digest.hexdigest()) != (self._expected.size, self._expected.oid):
            raise MismatchError("SHA256 or size mismatch")


class LfsStore:
    """The objects under one server root."""

    def __init__(self, root: Path) -> None:
        self._directory = root / "lfs"

    def path(self, oid: str) -> Path:
        """Where the object's bytes are, whether or not they are there."""
        return self._directory / oid[:2] / oid[2:4] / oid

    def has(self, oid: str) -> bool:
        """Tell whether the bytes are on this server, for whatever project."""
        return self.path(oid).is_file()

    def add(self, content: bytes) -> Pointer:
        """Store content and return what stands for it."""
        pointer = Pointer.of(content)
        if not self.has(pointer.oid):
            with self.receive(pointer) as incoming:
                incoming.write(content)
        return pointer

    @contextmanager
    def receive(self, expected: Pointer) -> Iterator[Incoming]:
        """Take in an object; it exists once the block ends without an error.

        Raises:
            TooLargeError: from `write`, when more arrives than announced.
            MismatchError: at the end, when the bytes are something else.
        """
        target = self.path(expected.oid)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._directory, prefix="incoming-")
        try:
            with os.fdopen(handle, "wb") as file:
                incoming = Incoming(file, expected)
                yield incoming
                incoming.verify()
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)
