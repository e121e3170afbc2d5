"""One cell as a job sees it, in today's and yesterday's shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.codex_builders import BOT, Json, cell, edit, notebook

from gitlab_jobs.codex.cells import Cell, cells_by_id, cells_of, milliseconds, validators
from gitlab_jobs.codex.notebook import load_notebook

DATA = Path(__file__).parents[1] / "data" / "codex"


def view(json: Any) -> Cell:
    """A cell on its own."""
    return Cell("files/target/MAT.codex", 0, json)


def sample(name: str) -> list[Cell]:
    """The cells of a sample file."""
    return list(cells_of(load_notebook(name, (DATA / name).read_bytes())))


def flags(seen: Cell) -> set[str]:
    """The flags that a cell carries."""
    return {
        name for name in ("deleted", "merged", "hidden", "locked") if getattr(seen, f"is_{name}")
    }


def test_a_cell_of_today() -> None:
    """Id, type, reference, words."""
    json = cell("5e7d", "<p>In the <b>beginning</b></p>", ref="GEN 1:1-2")
    seen = view(json)
    assert (seen.id, seen.type, seen.reference, seen.name) == (
        "5e7d",
        "text",
        "GEN 1:1-2",
        "GEN 1:1-2",
    )
    assert (seen.text, seen.is_empty) == ("In the beginning", False)
    assert flags(seen) == set()
    assert not seen.is_child


def test_flags() -> None:
    """Each flag in its own place, and only if it is true."""
    flagged = view(cell("a", data={"deleted": True, "merged": True, "hidden": True}, isLocked=True))
    assert flags(flagged) == {"deleted", "merged", "hidden", "locked"}
    odd = view(cell("a", data={"deleted": "true", "merged": 1, "hidden": None}, isLocked=0))
    assert flags(odd) == set()


@pytest.mark.parametrize(
    ("json", "is_child"),
    [
        (cell("a", parentId="b"), True),
        (cell("GEN 1:1:cue-1-2"), True),
        (cell("GEN 1:1:1764564500321-k9y"), True),
        (cell("GEN 1:1"), False),
        (cell("TheChosen-101-en 1:cue-50.6-51.4"), False),
        (cell("a", parentId=None), False),
    ],
)
def test_children(json: Json, is_child: bool) -> None:
    """By parent, or by a legacy id with more than two parts."""
    assert view(json).is_child is is_child


@pytest.mark.parametrize(
    "json",
    [
        {},
        {"value": 7},
        {"metadata": None},
        {"metadata": {"data": [], "edits": {}, "id": 3, "type": None}},
    ],
)
def test_cells_that_lack_everything(json: Any) -> None:
    """Missing and odd parts count as absent."""
    seen = view(json)
    assert (seen.id, seen.type, seen.reference, seen.text, seen.edits) == ("", "text", None, "", ())


def test_the_type_may_stand_in_data() -> None:
    """Old files keep it there."""
    assert view({"metadata": {"data": {"type": "paratext"}}}).type == "paratext"
    assert view({"metadata": {"type": "text", "data": {"type": "paratext"}}}).type == "text"


def test_history_of_today_and_of_old_files() -> None:
    """Legacy entries name the text without a path; entries without either are dropped."""
    entries = [
        edit("a", 5),
        {"cellValue": "b", "timestamp": 7, "type": "llm-generation"},
        {"value": "c", "timestamp": 9},
        edit("d", 11, preview=True),
        {"editMap": ["metadata", "cellLabel"], "value": "1", "timestamp": 13, "type": "user-edit"},
        "junk",
    ]
    seen = view(cell("a", edits=entries))
    assert [entry.timestamp for entry in seen.edits] == [5, 7, 11, 13]
    assert [entry.value for entry in seen.value_edits] == ["a", "b"]
    assert seen.newest_value_edit is not None
    assert seen.newest_value_edit.value == "b"


@pytest.mark.parametrize(
    ("kinds", "winner"),
    [
        (["llm-generation", "user-edit"], "user-edit"),
        (["user-edit", "llm-generation"], "user-edit"),
        (["user-edit", "migration"], "migration"),
        (["initial-import", "llm-generation"], "llm-generation"),
    ],
)
def test_of_equal_times_the_merge_prefers_a_person(kinds: list[str], winner: str) -> None:
    """The tie rule of the editor's merge."""
    seen = view(cell("a", edits=[edit(kind, 5, kind=kind) for kind in kinds]))
    assert seen.newest_value_edit is not None
    assert seen.newest_value_edit.value == winner


@pytest.mark.parametrize(
    ("entry", "machine", "own"),
    [
        (edit("x", 5), False, False),
        (edit("x", 5, kind="llm-generation", by="alice"), True, False),
        (edit("x", 5, kind="llm-generation", by=BOT), True, True),
        (edit("x", 5, kind="llm-generation", by=BOT, validatedBy=["bob"]), False, False),
        (
            edit(
                "x",
                5,
                kind="llm-generation",
                by=BOT,
                validatedBy=[{"username": "b", "isDeleted": True}],
            ),
            True,
            True,
        ),
        (edit("x", 5, kind="user-edit", by=BOT), False, True),
        (edit("other", 5, kind="llm-generation", by=BOT), False, False),
        (edit("<p>x</p>", 5, kind="llm-generation", by=BOT), True, True),
    ],
)
def test_who_wrote_the_text(entry: Json, machine: bool, own: bool) -> None:
    """Machine text counts as a person's once somebody else confirmed it."""
    seen = view(cell("a", "x", edits=[entry]))
    assert seen.is_text_by_machine() is machine
    assert seen.is_text_by({BOT}) is own


def test_validators_in_both_shapes() -> None:
    """Plain names, and records that may have been taken back."""
    entries = ["bob", {"username": "eve"}, {"username": "joe", "isDeleted": True}, 7]
    assert validators(entries) == {"bob", "eve"}
    assert validators(None) == frozenset()


@pytest.mark.parametrize(
    ("value", "number"), [(5, 5), (5.9, 5), ("5", 0), (None, 0), (1e300, 0), (float("inf"), 0)]
)
def test_timestamps_that_are_none(value: Any, number: int) -> None:
    """As in the merge, what is no number is the beginning of time."""
    assert milliseconds(value) == number


def test_of_two_cells_with_one_id_the_living_one_counts() -> None:
    """The editor merges them some day; until then we must not fill a dead one."""
    book = notebook(
        cell("a", "dead", data={"deleted": True}),
        cell("a", "alive"),
        cell("a", "late"),
        cell("b"),
        cell(""),
    )
    found = cells_by_id(book)
    assert {cell_id: seen.text for cell_id, seen in found.items()} == {"a": "alive", "b": ""}


def test_the_footnote_sample() -> None:
    """Real data: footnote, paratext below a verse, empty helper cells, milestone."""
    cells = sample("hello-ao.MAT-footnote-paratext.codex")
    assert [seen.name for seen in cells if seen.verse] == [
        "MAT 1:1",
        "MAT 1:2",
        "MAT 1:3",
        "MAT 1:4",
        "MAT 1:5",
    ]
    first = next(seen for seen in cells if seen.name == "MAT 1:1")
    assert (
        first.text
        == "The book of the genealogy of Jesus the Anointed, son of David, son of Abraham."
    )
    assert [seen.type for seen in cells if seen.is_child] == ["paratext"]


def test_the_legacy_sample() -> None:
    """Real data of 2024: ids are references, entries have `cellValue`, two drafts were corrected."""
    cells = sample("hello-ao.JON-legacy-cellValue.codex")
    assert [seen.reference for seen in cells[:2]] == ["JON 1:1", "JON 1:2"]
    assert [seen.name for seen in cells if not seen.is_text_by_machine()] == ["JON 1:1", "JON 2:1"]


def test_the_import_sample() -> None:
    """Real data: a whole book, most of it not verses."""
    cells = sample("hello-ao.GAL-usfm-import.codex")
    assert len(cells) == 317
    kinds = [seen.type for seen in cells]
    assert [kinds.count(kind) for kind in ("text", "style", "milestone")] == [182, 123, 12]
    assert sum(seen.verse is not None for seen in cells) == 149
