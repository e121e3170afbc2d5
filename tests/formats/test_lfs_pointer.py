"""Pointer files: strict when written, lenient about line ends when read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitlab_jobs.lfs import Pointer, parse_pointer

OID = "0f" * 32
TEXT = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 16\n".encode()


@given(st.binary(min_size=32, max_size=32), st.integers(0, 10**15))
def test_what_is_written_is_read(digest: bytes, size: int) -> None:
    """Any object's pointer survives."""
    pointer = Pointer(digest.hex(), size)
    assert parse_pointer(pointer.text()) == pointer


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        TEXT.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + TEXT,
        TEXT.rstrip(b"\n"),
        TEXT.replace(b"oid", b"ext-0-case sha256:00\noid"),
    ],
    ids=["canonical", "CRLF", "byte-order mark", "no final newline", "extension"],
)
def test_pointers_of_other_writers(content: bytes) -> None:
    """Editors on other systems spell the same pointer differently."""
    assert parse_pointer(content) == Pointer(OID, 16)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF\x00\x00WAVE",
        TEXT.replace(OID.encode(), b"0f"),
        TEXT.replace(OID.encode(), OID.upper().encode()),
        TEXT.replace(b"size 16", b"size -1"),
        TEXT + b"x" * 400,
        b"version 2\n" + TEXT,
    ],
    ids=["zero bytes", "raw audio", "short id", "upper case", "negative", "long", "other version"],
)
def test_what_is_no_pointer(content: bytes) -> None:
    """A placeholder that waits to be healed, and audio committed by mistake, are no pointers."""
    assert parse_pointer(content) is None
