"""Git LFS pointer text: the small file in git that stands for a large object elsewhere.

Knows nothing of transfers or repositories (`lfs_transfer` moves the bytes). Format: the Git LFS
specification, version 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_POINTER_BYTES = 400
"""Longer files are never pointers (the editor uses the same limit)."""

_POINTER = re.compile(
    rb"\A(?:\xef\xbb\xbf)?version https://git-lfs\.github\.com/spec/v1\r?\n"
    rb"(?:ext-[^\n]*\n)*oid sha256:(?P<oid>[0-9a-f]{64})\r?\nsize (?P<size>[0-9]{1,18})\r?\n?\Z"
)


@dataclass(frozen=True, slots=True)
class Pointer:
    """A large object by its SHA-256 (64 hex digits) and size in bytes."""

    oid: str
    size: int

    def text(self) -> bytes:
        """The canonical pointer file: three LF-terminated lines."""
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.oid}\nsize {self.size}\n"
        ).encode("ascii")


def parse_pointer(content: bytes) -> Pointer | None:
    """Read a pointer, tolerating a byte-order mark and CRLF; None if this is anything else."""
    if len(content) > MAX_POINTER_BYTES:
        return None
    match = _POINTER.match(content)
    if match is None:
        return None
    return Pointer(match["oid"].decode("ascii"), int(match["size"]))
