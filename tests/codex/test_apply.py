"""Changes to a notebook as it stands when they are written.

Numbers in test names are the interop cases of the job protocol.
"""

from __future__ import annotations

import copy
import difflib
import json
from typing import Any

import pytest
from support.codex_builders import (
    BOT,
    PATH,
    SOURCE_CREATED_MS,
    Json,
    as_bytes,
    cell,
    document,
    edit,
    recorded,
)
from support.codex_changes import (
    CONTEXT,
    NOW,
    SAMPLE,
    SUBMITTED,
    apply,
    audio,
    cell_after,
    entry,
    refused,
    text,
)

from gitlab_jobs.codex.apply import EditContext, apply_changes
from gitlab_jobs.codex.changes import SetText
from gitlab_jobs.codex.notebook import NotebookError


def test_case_50_text_is_a_value_and_one_entry() -> None:
    """The exact difference, nothing else: the editor takes the newest entry for the text."""
    book = document(recorded("1"), cell("2", "b"))
    applied = apply(book, text(words="Tom & <J>\nsaid"))
    expected = copy.deepcopy(book)
    expected["cells"][0]["value"] = "Tom &amp; &lt;J&gt;<br/>said"
    expected["cells"][0]["metadata"]["edits"] = [
        entry("Tom &amp; &lt;J&gt;<br/>said", SOURCE_CREATED_MS)
    ]
    assert applied.content == as_bytes(expected)
    assert list(cell_after(applied)["metadata"]["edits"][0]) == [
        "editMap", "value", "timestamp", "type", "author", "validatedBy",
    ]  # fmt: skip
    assert (applied.done, applied.dropped, applied.is_changed) == (("1",), (), True)


def test_a_text_is_stamped_just_after_the_newest_text() -> None:
    """Not with the present, which would beat what somebody typed offline; other fields do not count."""
    label = {"editMap": ["metadata", "cellLabel"], "value": "1", "timestamp": 9000, "type": "user-edit",
             "author": "alice", "validatedBy": []}  # fmt: skip
    history = [edit("a", 700), edit("", 800), edit("x", 8000, preview=True), label]
    applied = apply(document(recorded("1", edits=history)), text())
    assert cell_after(applied)["metadata"]["edits"] == [*history, entry("heard", 801)]


def test_without_history_a_text_is_as_old_as_its_source() -> None:
    """Or from the beginning of time, where the notebook does not say."""
    for odd in (None, "soon", 7, "0001-01-01T00:00:00"):
        applied = apply(document(recorded("1"), sourceCreatedAt=odd), text())
        assert cell_after(applied)["metadata"]["edits"] == [entry("heard", 1)]


def test_a_redo_is_as_new_as_the_request() -> None:
    """Who lists a verse wants it replaced, whatever was there when they asked."""
    applied = apply(document(recorded("1", "old")), text(listed=True))
    assert cell_after(applied)["value"] == "heard"
    assert cell_after(applied)["metadata"]["edits"][-1] == entry("heard", SUBMITTED)


def test_replaced_text_without_history_is_kept_in_it() -> None:
    """First an entry for the old text, then the new one."""
    applied = apply(document(recorded("1", "<p>old</p>", edits=[])), text(listed=True))
    assert cell_after(applied)["metadata"]["edits"] == [
        entry("<p>old</p>", SOURCE_CREATED_MS, "initial-import"), entry("heard", SUBMITTED),
    ]  # fmt: skip
    no_date = EditContext(BOT, "job1", None, NOW, {})
    applied = apply(document(recorded("1", "old", edits=[])), text(listed=True), context=no_date)
    times = [made["timestamp"] for made in cell_after(applied)["metadata"]["edits"]]
    assert times == [SOURCE_CREATED_MS, SOURCE_CREATED_MS + 1]


@pytest.mark.parametrize("blank", ["<p></p>", "&nbsp;", "Click to translate", "<range>"])
def test_a_blank_value_is_replaced_like_nothing(blank: str) -> None:
    """Empty shapes are no text that anybody would miss."""
    applied = apply(document(recorded("1", blank, edits=[])), text())
    assert cell_after(applied)["metadata"]["edits"] == [entry("heard", SOURCE_CREATED_MS)]


def test_cells_without_edits_or_data_get_what_they_need() -> None:
    """Old cells lack parts; only the needed ones appear, last."""
    bare = {"value": "", "metadata": {"id": "1", "x": 1.50}}
    applied = apply(document(bare), text())
    assert list(cell_after(applied)["metadata"]) == ["id", "x", "edits"]
    legacy = {
        "value": "",
        "metadata": {"id": "1", "edits": [{"cellValue": "", "timestamp": 40, "type": "user-edit"}]},
    }
    assert cell_after(apply(document(legacy), text()))["metadata"]["edits"][1]["timestamp"] == 41


@pytest.mark.parametrize(
    ("json_cell", "change", "reason"),
    [
        (recorded("2"), text(), "it is no longer in the file"),
        (recorded("1", "typed"), text(), "somebody has written text in the meantime"),
        (recorded("1", isLocked=True), text(), "it is locked"),
        (recorded("1", isLocked=True), text(listed=True), "it is locked"),
        (recorded("1", data={"deleted": True}), text(listed=True), "it was deleted"),
        (recorded("1", data={"merged": True}), text(), "it was merged into another verse"),
        (recorded("1", data={"hidden": True}), text(), "it is hidden"),
        (recorded("1", type="paratext"), text(), "it is not a verse (paratext)"),
        (
            recorded("1"),
            text(take_id="audio-0"),
            "another recording has been chosen in the meantime",
        ),
        (cell("1"), text(take_id="audio-1"), "another recording has been chosen in the meantime"),
        (recorded("1"), text(words=" \n"), "nothing was recognised in its recording"),
        (
            recorded("1", edits=[edit("new", SUBMITTED + 1)], value="new"),
            text(listed=True),
            "somebody has edited it after the job was submitted",
        ),
    ],
)
def test_texts_that_no_longer_fit_are_dropped(
    json_cell: Json, change: SetText, reason: str
) -> None:
    """Cases 45, 47 and 48 for text: whatever a person did in the meantime stands."""
    assert refused(document(json_cell), change) == reason


def test_notebooks_that_keep_source_tags_are_filled_only_on_request() -> None:
    """The check is repeated, since the setting may have been switched on meanwhile."""
    book = document(recorded("1"), enforceHtmlStructure=True)
    assert refused(book, text()) == "its file must keep the tags of the source text"
    assert apply(book, text(listed=True)).done == ("1",)


def test_case_51_a_second_text_of_the_same_job_changes_nothing() -> None:
    """Neither the same words again, nor other words that another attempt heard."""
    for listed in (False, True):
        first = apply(document(recorded("1", "old" if listed else "")), text(listed=listed))
        for words in ("heard", "heard otherwise"):
            again = apply_changes(PATH, first.content, [text(words=words, listed=listed)], CONTEXT)
            assert (again.content, again.done, again.dropped) == (first.content, ("1",), ())
            assert not again.is_changed


def test_a_later_job_may_redo_what_an_earlier_one_wrote() -> None:
    """A new request is a new consent."""
    first = apply(document(recorded("1", "old")), text(listed=True))
    later = EditContext(BOT, "job2", SUBMITTED + 5, NOW, {})
    second = apply_changes(PATH, first.content, [text(words="better", listed=True)], later)
    assert cell_after(second)["value"] == "better"
    assert cell_after(second)["metadata"]["edits"][-1] == entry("better", SUBMITTED + 5)


# Takes


def test_case_47_only_the_named_cells_change() -> None:
    """In a real file, text beside audio, and a person's changes since are where they were."""
    content = SAMPLE.read_bytes()
    book = json.loads(content)
    asr, tts = book["cells"][2]["metadata"]["id"], book["cells"][3]["metadata"]["id"]
    changes: list[Any] = [text(asr), audio(tts, "Text only; TTS target.")]
    applied = apply_changes(PATH, content, changes, CONTEXT)
    assert applied.done == (asr, tts)
    lines = difflib.ndiff(content.decode().split("\n"), applied.content.decode().split("\n"))
    removed = [line[1:].strip() for line in lines if line.startswith("-")]
    assert removed == ['"value": "",', '"edits": [],', '"cellLabel": "3"']
    changed = json.loads(applied.content)
    for position, json_cell in enumerate(book["cells"]):
        assert (changed["cells"][position] == json_cell) is (position not in (2, 3))
    assert changed["metadata"] == book["metadata"]


def test_several_changes_to_one_cell_build_on_each_other() -> None:
    """Text first, then audio that speaks it."""
    applied = apply(document(cell("1")), text(), audio(spoken="heard"))
    assert applied.done == ("1",)
    assert cell_after(applied)["value"] == "heard"
    assert "selectedAudioId" in cell_after(applied)["metadata"]


def test_one_dropped_change_leaves_the_others() -> None:
    """Each change stands for itself."""
    applied = apply(
        document(recorded("1", "typed"), recorded("2")), text("1"), text("2"), text("9")
    )
    assert applied.done == ("2",)
    assert [dropped.cell_id for dropped in applied.dropped] == ["1", "9"]


def test_of_two_cells_with_one_id_the_living_one_is_filled() -> None:
    """Ids are sometimes doubled, until the editor merges them."""
    book = document(recorded("1", data={"deleted": True}), recorded("1"))
    assert cell_after(apply(book, text()), 1)["value"] == "heard"
    assert cell_after(apply(book, text()), 0) == book["cells"][0]


def test_a_race_is_settled_by_applying_again() -> None:
    """The head moved and somebody filled the cell: the second pass drops what the first one did."""
    assert apply(document(recorded("1"), recorded("2")), text("1"), text("2")).done == ("1", "2")
    newer = document(recorded("1", "typed"), recorded("2"))
    applied = apply(newer, text("1"), text("2"))
    assert applied.done == ("2",)
    assert cell_after(applied) == newer["cells"][0]


def test_a_file_that_is_no_notebook_is_never_written() -> None:
    """Conflict markers or a pointer in its place raise instead of giving bytes back."""
    with pytest.raises(NotebookError):
        apply_changes(PATH, b"<<<<<<< HEAD\n", [text()], CONTEXT)
