"""Verse references: "MAT 1:1", "JHN 4:1-3", and what editors of several years made of them.

Knows no notebooks beyond one cell's `metadata`. Books are whatever token stands first, in any case:
there is no closed list of books in the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_REFERENCE = re.compile(r"(\S+) (\d{1,9}):(\d{1,9})(?:-(\d{1,9}))?\Z", re.ASCII)
_ENDS_AS_REFERENCE = re.compile(r"\s\d+:\d+(?:-\d+)?\Z", re.ASCII)
# What merging and inserting cells appended to references for a while: ":<ms>-<random>".
_SUFFIX = re.compile(r":\d+-\w+\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """A verse or a range of verses within one chapter; `book` in upper case."""

    book: str
    chapter: int
    verse: int
    last_verse: int


def parse_reference(text: str) -> Reference | None:
    """Read a reference, with or without a leftover suffix; None for anything else."""
    match = _REFERENCE.match(_without_suffix(text.strip()))
    if match is None:
        return None
    book, chapter, verse, last = match.groups()
    return Reference(book.upper(), int(chapter), int(verse), int(last or verse))


def reference_of(metadata: Mapping[str, Any]) -> str | None:
    """The reference of a cell, in the editor's order: its id, its data, its importer's extras."""
    cell_id = metadata.get("id")
    if isinstance(cell_id, str) and _ENDS_AS_REFERENCE.search(cell_id):
        return cell_id
    first = first_global_reference(metadata)
    if first is not None and _ENDS_AS_REFERENCE.search(stripped := _without_suffix(first)):
        return stripped
    book, chapter, verse = (metadata.get(key) for key in ("bookCode", "chapter", "verse"))
    built = f"{book} {chapter}:{verse}"
    return built if isinstance(book, str) and parse_reference(built) is not None else None


def first_global_reference(metadata: Mapping[str, Any]) -> str | None:
    """`data.globalReferences[0]`, the only element that anybody uses."""
    data = metadata.get("data")
    references = data.get("globalReferences") if isinstance(data, dict) else None
    if not isinstance(references, list) or not references or not isinstance(references[0], str):
        return None
    return references[0]


def _without_suffix(text: str) -> str:
    """Take a leftover suffix away; the end of a range ("4:1-3") only looks like one."""
    return text if _ENDS_AS_REFERENCE.search(text) else _SUFFIX.sub("", text)
