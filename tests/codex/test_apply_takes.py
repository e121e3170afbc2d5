"""Takes that a job adds: pointer, attachment and choice, so that people win."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from support.codex_builders import (
    BOT,
    PATH,
    SOURCE_CREATED_MS,
    Json,
    as_bytes,
    cell,
    document,
    recorded,
    take,
)
from support.codex_changes import (
    AUDIO,
    CONTEXT,
    NOW,
    OTHER,
    POINTER,
    SUBMITTED,
    apply,
    audio,
    cell_after,
    refused,
)

from gitlab_jobs.codex.apply import EditContext, apply_changes
from gitlab_jobs.codex.changes import AddTake


def test_case_49_a_take_with_its_pointer_and_choice() -> None:
    """The exact difference: one attachment, chosen, and one pointer file to commit with it."""
    book = document(cell("1", "<p>text</p>"))
    applied = apply(book, audio())
    ((pointer_path, pointer),) = applied.pointers.items()
    take_id = Path(pointer_path).stem
    expected = copy.deepcopy(book)
    expected["cells"][0]["metadata"] |= {
        "attachments": {
            take_id: {
                "url": f".project/attachments/files/MAT/{take_id}.webm",
                "type": "audio",
                "createdAt": NOW,
                "updatedAt": NOW,
                "isDeleted": False,
                "createdBy": BOT,
                "metadata": {
                    "mimeType": "audio/webm",
                    "sizeBytes": 45_000,
                    "sampleRate": 48_000,
                    "channels": 1,
                    "durationSec": 6,
                    "bitrateKbps": 60,
                },
            }
        },
        "selectedAudioId": take_id,
        "selectionTimestamp": SOURCE_CREATED_MS,
    }
    assert applied.content == as_bytes(expected)
    assert pointer_path == f".project/attachments/pointers/MAT/{take_id}.webm"
    assert pointer == POINTER


def test_older_takes_stay_and_the_choice_is_just_newer() -> None:
    """A deleted take is history; the new choice is stamped after the old one, not with the present."""
    book = document(
        recorded("1", "text", attachments=take("audio-1", isDeleted=True), selectionTimestamp=7000)
    )
    metadata = cell_after(apply(book, audio()))["metadata"]
    assert next(iter(metadata["attachments"])) == "audio-1"
    assert (
        metadata["attachments"]["audio-1"] == book["cells"][0]["metadata"]["attachments"]["audio-1"]
    )
    assert metadata["selectionTimestamp"] == 7001
    book["cells"][0]["metadata"]["attachments"]["audio-1"]["createdAt"] = 8000
    assert cell_after(apply(book, audio()))["metadata"]["selectionTimestamp"] == 8001


def test_a_listed_verse_gets_a_new_take_beside_its_old_one() -> None:
    """The recording that was there is kept, only the choice changes, as of the request."""
    metadata = cell_after(apply(document(recorded("1", "text")), audio(listed=True)))["metadata"]
    assert len(metadata["attachments"]) == 2
    assert metadata["selectedAudioId"] != "audio-1"
    assert metadata["selectionTimestamp"] == SUBMITTED


@pytest.mark.parametrize(
    ("json_cell", "change", "reason"),
    [
        (cell("2", "text"), audio(), "it is no longer in the file"),
        (cell("1", "other"), audio(), "its text has changed in the meantime"),
        (cell("1", "other"), audio(listed=True), "its text has changed in the meantime"),
        (recorded("1", "text"), audio(), "somebody has recorded it in the meantime"),
        (
            cell("1", "text", selectedAudioId=""),
            audio(),
            "its recordings were deselected in the meantime",
        ),
        (cell("1", "text", isLocked=True), audio(listed=True), "it is locked"),
        (cell("1", "text", data={"deleted": True}), audio(listed=True), "it was deleted"),
        (
            recorded("1", "text", selectionTimestamp=SUBMITTED + 1),
            audio(listed=True),
            "its recording was changed after the job was submitted",
        ),
        (
            recorded("1", "text", attachments=take("audio-1", SUBMITTED + 1)),
            audio(listed=True),
            "its recording was changed after the job was submitted",
        ),
        (
            cell("1", "text", selectedAudioId="", selectionTimestamp=SUBMITTED + 1),
            audio(listed=True),
            "its recording was changed after the job was submitted",
        ),
    ],
)
def test_takes_that_no_longer_fit_are_dropped(
    json_cell: Json, change: AddTake, reason: str
) -> None:
    """Cases 45, 47 and 48 for audio: no pointer is made for a take that nobody will see."""
    assert refused(document(json_cell), change) == reason


def test_a_cleared_choice_gives_way_only_to_a_request() -> None:
    """Listing the verse is asking for it."""
    book = document(cell("1", "text", selectedAudioId="", attachments=take("audio-1")))
    assert apply(book, audio(listed=True)).done == ("1",)


def test_case_51_a_second_take_of_the_same_job_changes_nothing() -> None:
    """Neither the same bytes, nor other bytes of another attempt, nor after a person deleted it."""
    for listed in (False, True):
        first = apply(document(cell("1", "text")), audio(listed=listed))
        for file in (AUDIO, OTHER):
            again = apply_changes(PATH, first.content, [audio(listed=listed, file=file)], CONTEXT)
            assert (again.content, again.done, again.dropped) == (first.content, ("1",), ())
            assert dict(again.pointers) == {}
    book = json.loads(first.content)
    (attachment,) = book["cells"][0]["metadata"]["attachments"].values()
    attachment["isDeleted"] = True
    assert not apply(book, audio(listed=True)).is_changed


def test_another_job_adds_another_take() -> None:
    """A new request makes a new file; no pointer path is used twice."""
    first = apply(document(cell("1", "text")), audio(listed=True))
    later = EditContext(BOT, "job2", SUBMITTED + 5, NOW + 5, {AUDIO: POINTER})
    second = apply_changes(PATH, first.content, [audio(listed=True)], later)
    assert set(first.pointers) & set(second.pointers) == set()
    assert len(cell_after(second)["metadata"]["attachments"]) == 2


def test_case_46_two_cells_of_one_reference_get_two_files() -> None:
    """Even if they sound the same."""
    book = document(cell("a", "text", ref="MAT 1:1"), cell("b", "text", ref="MAT 1:1"))
    applied = apply(book, audio("a"), audio("b"))
    assert len(applied.pointers) == 2
    assert applied.done == ("a", "b")


# Files
