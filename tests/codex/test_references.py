"""Verse references in all the shapes that editors of several years left behind."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.codex_builders import Json, cell

from gitlab_jobs.codex.references import Reference, parse_reference, reference_of


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("GEN 1:1", Reference("GEN", 1, 1, 1)),
        ("JHN 4:1-3", Reference("JHN", 4, 1, 3)),
        ("GEN 1:11-12:1764564500321-k9yvyjy9o", Reference("GEN", 1, 11, 12)),
        ("GEN 1:1:1764564500321-k9yvyjy9o", Reference("GEN", 1, 1, 1)),
        ("1JN 1:1", Reference("1JN", 1, 1, 1)),
        ("mat 1:1", Reference("MAT", 1, 1, 1)),
        (" MAT 1:1 ", Reference("MAT", 1, 1, 1)),
        ("XXA 3:4", Reference("XXA", 3, 4, 4)),
        ("JOB", None),
        ("", None),
        ("MAT 1:1a", None),
        ("MAT 1:1,3", None),
        ("MAT 1:1-2:3", None),
        ("MAT  1:1", None),
        ("MAT 1.1", None),
        ("GEN.1.1", None),
        ("MAT ١:١", None),
        ("TheChosen-101-en 1:cue-50.6-51.4", None),
        ("5e7dadd4-9879-026e-82d9-80337922faad", None),
    ],
)
def test_what_is_a_reference_and_what_is_not(text: str, reference: Reference | None) -> None:
    """Book, chapter and verse in ASCII digits; ranges within one chapter."""
    assert parse_reference(text) == reference


@given(
    st.from_regex(r"[A-Z0-9]{3}", fullmatch=True),
    st.integers(1, 150),
    st.integers(1, 176),
    st.integers(0, 20),
)
def test_every_reference_is_read_back(book: str, chapter: int, verse: int, more: int) -> None:
    """Any token may be a book; ranges and suffixes do not get in each other's way."""
    text = f"{book} {chapter}:{verse}" + (f"-{verse + more}" if more else "")
    expected = Reference(book, chapter, verse, verse + more)
    assert parse_reference(text) == parse_reference(f"{text}:1764564500321-k9y") == expected


def metadata(cell_id: str, ref: str | None = None, **extras: object) -> Json:
    """The metadata of a cell with these places for a reference."""
    return cell(cell_id, ref=ref, **extras)["metadata"]


@pytest.mark.parametrize(
    ("place", "reference"),
    [
        (metadata("GEN 1:1"), "GEN 1:1"),
        (metadata("GEN 1:1", ref="GEN 9:9"), "GEN 1:1"),
        (metadata("JHN 4:1-3"), "JHN 4:1-3"),
        (metadata("5e7d", ref="MAT 1:5-6"), "MAT 1:5-6"),
        (metadata("5e7d", ref="GEN 1:11-12:1764564500321-k9yvyjy9o"), "GEN 1:11-12"),
        (metadata("5e7d", ref="MAT 1:2", bookCode="MRK", chapter=3, verse=4), "MAT 1:2"),
        (metadata("5e7d", bookCode="GAL", chapter=3, verse="4"), "GAL 3:4"),
        (metadata("5e7d", bookCode="GAL", chapter=3, verse="4-5"), "GAL 3:4-5"),
        (metadata("5e7d", bookCode="GAL", chapter=3), None),
        (metadata("5e7d", ref="JOB"), None),
        (metadata("5e7d"), None),
        (metadata("GEN 1:1:cue-5-6"), None),
        ({"id": 7, "data": {"globalReferences": "MAT 1:1"}}, None),
        ({"id": "x", "data": {"globalReferences": [7]}}, None),
        ({"id": "x", "data": None}, None),
        ({}, None),
    ],
)
def test_where_a_cell_keeps_its_reference(place: Json, reference: str | None) -> None:
    """Id first, then data, then what the importer left; nothing odd raises."""
    assert reference_of(place) == reference


@pytest.mark.parametrize(
    ("reference", "cell_id"),
    [
        ("MAT 1:1", "5e7dadd4-9879-026e-82d9-80337922faad"),
        ("MAT 1:2", "659494d4-2af6-685b-1db2-17b7fce729bc"),
        ("GEN 1:1", "98c7b6a3-55fa-1148-069c-f7c0c46ee3fa"),
    ],
)
def test_converted_ids_are_hashes_of_references(reference: str, cell_id: str) -> None:
    """A fact about converted projects, kept here as a check value; nothing relies on it."""
    digits = hashlib.sha256(reference.encode()).hexdigest()[:32]
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    assert "-".join(parts) == cell_id
