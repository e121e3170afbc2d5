"""The editor's merge of a worker's changes with whatever people did meanwhile.

A person works offline from the same state that the worker saw (or an older one). Whatever they did,
early or late, and whichever side the merge starts from: the project ends as it would have without the
worker, wherever the person did something, and the worker's entry and take are still there.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.codex_builders import (
    BOT,
    PATH,
    SOURCE_CREATED_MS,
    Json,
    as_bytes,
    cell,
    document,
    edit,
    take,
)
from support.editor_merge import merge_notebooks

from gitlab_jobs.codex.apply import EditContext, apply_changes
from gitlab_jobs.codex.changes import AddTake, SetText, TakeMedia
from gitlab_jobs.lfs import Pointer

START = SOURCE_CREATED_MS
SYNCED = START + 1_000_000
SUBMITTED = START + 2_000_000
NOW = START + 3_000_000
AUDIO = Path("out.webm")
MEDIA = TakeMedia("audio/webm", sample_rate_hz=48_000, channels=1, duration_s=1.0)
CONTEXT = EditContext(BOT, "job1", SUBMITTED, NOW, {AUDIO: Pointer("ab" * 32, 1000)})

Action = Callable[[Json, int], None]


def types(json_cell: Json, at: int) -> None:
    """Somebody writes text."""
    json_cell["value"] = f"typed at {at}"
    json_cell["metadata"]["edits"].append(edit(json_cell["value"], at))


def clears_text(json_cell: Json, at: int) -> None:
    """Somebody empties the cell."""
    json_cell["value"] = ""
    json_cell["metadata"]["edits"].append(edit("", at))


def records(json_cell: Json, at: int) -> None:
    """Somebody records, which also chooses the take and notes its place on the timeline."""
    metadata = json_cell["metadata"]
    metadata.setdefault("attachments", {}).update(take(f"audio-by-hand-{at}", at))
    metadata |= {"selectedAudioId": f"audio-by-hand-{at}", "selectionTimestamp": at}
    place = ["metadata", "data", "audioStartTime"]
    metadata["edits"].append({**edit("", at), "editMap": place, "value": at / 1000})


def deletes_takes(json_cell: Json, at: int) -> None:
    """Somebody deletes every take and thereby the choice."""
    metadata = json_cell["metadata"]
    for attachment in metadata.get("attachments", {}).values():
        attachment |= {"isDeleted": True, "updatedAt": at}
    metadata |= {"selectedAudioId": "", "selectionTimestamp": at}


def clears_choice(json_cell: Json, at: int) -> None:
    """Somebody rejects every take."""
    json_cell["metadata"] |= {"selectedAudioId": "", "selectionTimestamp": at}


def flags(*path: str) -> Action:
    """Somebody switches a flag on."""

    def act(json_cell: Json, at: int) -> None:
        place = json_cell
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = True
        json_cell["metadata"]["edits"].append(
            {**edit("", at), "editMap": list(path), "value": True}
        )

    return act


ACTIONS: dict[str, Action] = {
    "types": types,
    "clears text": clears_text,
    "records": records,
    "deletes takes": deletes_takes,
    "clears choice": clears_choice,
    "deletes cell": flags("metadata", "data", "deleted"),
    "locks cell": flags("metadata", "isLocked"),
}


def acts_between(first: int, last: int) -> st.SearchStrategy[list[tuple[str, int]]]:
    """What somebody did, each thing at a millisecond of its own (and never the worker's)."""
    moments = st.integers(first // 10, last // 10).map(lambda moment: moment * 10)
    return st.lists(
        st.tuples(st.sampled_from(sorted(ACTIONS)), moments),
        max_size=4,
        unique_by=lambda act: act[1],
    )


synced = acts_between(START + 10, SYNCED)
# The other person's clock never shows the same millisecond.
unsynced = acts_between(START + 10, NOW * 2).map(lambda acts: [(act, at + 5) for act, at in acts])
starts = st.sampled_from(["", "text"])


def after(book: Json, what: list[tuple[str, int]], *, at: int | None = None) -> Json:
    """The notebook after somebody did these things, in the order of their clock."""
    changed = copy.deepcopy(book)
    for name, moment in sorted(what, key=lambda act: act[1]):
        ACTIONS[name](changed["cells"][0], moment if at is None else at)
    return changed


def worked(book: Json, *, listed: bool) -> Json:
    """The notebook after the worker wrote what it could: a text, and a take that speaks the text."""
    spoken = book["cells"][0]["value"] or "heard"
    changes = [SetText("1", "heard", None, listed), AddTake("1", AUDIO, MEDIA, spoken, listed)]
    applied = apply_changes(PATH, as_bytes(book), changes, CONTEXT)
    result: Json = json.loads(applied.content)
    return result


def merged_cell(local: Json, remote: Json) -> Json:
    """The cell after a sync."""
    found: Json = merge_notebooks(local, remote)["cells"][0]
    return found


def newest_text(json_cell: Json) -> Json | None:
    """The entry that decides about the text."""
    entries = [entry for entry in json_cell["metadata"]["edits"] if entry["editMap"] == ["value"]]
    return max(entries, key=lambda entry: entry["timestamp"], default=None)


def choice(json_cell: Json) -> tuple[Any, Any]:
    """Which take is chosen, and since when."""
    metadata = json_cell["metadata"]
    return metadata.get("selectedAudioId"), metadata.get("selectionTimestamp")


def assert_people_win(head: Json, person: Json, worker: Json) -> None:
    """Compare both merges with what they would have been without the worker."""
    for local, remote, without in (
        (person, worker, merged_cell(person, head)),
        (worker, person, merged_cell(head, person)),
    ):
        result = merged_cell(local, remote)
        seen, made = head["cells"][0], worker["cells"][0]
        own_text = newest_text(without) == newest_text(seen)
        assert result["value"] == (made["value"] if own_text else without["value"])
        own_choice = choice(without) == choice(seen)
        assert choice(result) == choice(made if own_choice else without)
        for flag in ("deleted", "merged"):
            assert result["metadata"]["data"].get(flag) == without["metadata"]["data"].get(flag)
        assert result["metadata"].get("isLocked") == without["metadata"].get("isLocked")
        assert_worker_is_remembered(result, made)
        event(f"text by {'worker' if own_text and made != seen else 'person'}")
        event(f"choice by {'worker' if own_choice and choice(made) != choice(seen) else 'person'}")


def assert_worker_is_remembered(result: Json, made: Json) -> None:
    """The worker's entries and takes are still in the cell, whoever won."""
    for attachment in made["metadata"].get("attachments", {}):
        assert attachment in result["metadata"]["attachments"]
    for entry in made["metadata"]["edits"]:
        if entry["author"] == BOT:
            assert entry in result["metadata"]["edits"]


@settings(max_examples=400)
@given(starts, synced, unsynced)
def test_whatever_a_person_does_offline_wins(
    start: str, before: list[Any], offline: list[Any]
) -> None:
    """Early or late, text, recordings, deletions, locks: as if the worker had not been there."""
    head = after(document(cell("1", start, edits=[edit(start, START)] if start else [])), before)
    person = after(head, offline)
    assert_people_win(head, person, worked(head, listed=False))


@settings(max_examples=400)
@given(starts, synced, unsynced)
def test_also_if_the_person_never_saw_the_last_changes(
    start: str, before: list[Any], offline: list[Any]
) -> None:
    """They work on an older state; what others did meanwhile decides as it would have anyway."""
    base = document(cell("1", start, edits=[edit(start, START)] if start else []))
    head = after(base, before)
    person = after(base, offline)
    assert_people_win(head, person, worked(head, listed=False))


@settings(max_examples=200)
@given(st.sampled_from(["types", "clears text"]), starts)
def test_a_person_of_the_same_millisecond_wins(action: str, start: str) -> None:
    """Of equal times the merge prefers the person's text on either side."""
    head = document(cell("1", start, edits=[edit(start, START)] if start else []))
    head["cells"][0]["value"] = ""
    head["cells"][0]["metadata"]["edits"] += [edit("", START + 5)] if start else []
    worker = worked(head, listed=False)
    at = worker["cells"][0]["metadata"]["edits"][-1]["timestamp"]
    person = after(head, [(action, at)])
    for local, remote in ((person, worker), (worker, person)):
        assert merged_cell(local, remote)["value"] == person["cells"][0]["value"]


@settings(max_examples=400)
@given(starts, synced, unsynced)
def test_after_a_request_only_later_work_wins(
    start: str, before: list[Any], offline: list[Any]
) -> None:
    """Listing a verse gives up what was there when asking, and nothing after it."""
    head = after(document(cell("1", start, edits=[edit(start, START)] if start else [])), before)
    later = [(name, moment) for name, moment in offline if moment > SUBMITTED + 1]
    assert_people_win(head, after(head, later), worked(head, listed=True))


@given(synced, unsynced)
def test_whoever_syncs_first_the_other_is_not_lost(before: list[Any], offline: list[Any]) -> None:
    """The person's sync comes first: the worker then applies to what it finds, and drops the rest."""
    base = after(document(cell("1")), before)
    head = after(base, offline)
    result = worked(head, listed=False)["cells"][0]
    seen = head["cells"][0]
    alive = not seen["metadata"]["data"].get("deleted") and not seen["metadata"].get("isLocked")
    assert result["value"] == ("heard" if alive and not seen["value"] else seen["value"])
    if "selectedAudioId" in seen["metadata"]:
        assert choice(result) == choice(seen)


def test_the_naive_way_would_lose_work() -> None:
    """What these rules are for: stamped with the present, the worker beats unsynced typing."""
    head = document(cell("1"))
    person = after(head, [("types", SUBMITTED)])
    worker = worked(head, listed=False)
    assert merged_cell(person, worker)["value"] == person["cells"][0]["value"]
    worker["cells"][0]["metadata"]["edits"][-1]["timestamp"] = NOW
    assert merged_cell(person, worker)["value"] == "heard"
    del worker["cells"][0]["metadata"]["edits"][:]
    assert merged_cell(head, worker)["value"] == ""
