"""What must hold after a story: nobody's work is lost, and the worker's is there whole or not at all.

Each function names what is wrong, in words; it knows cells and files, no server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chaos.habits import Memory, Place
from support.codex_builders import BOT

from gitlab_jobs import paths
from gitlab_jobs.codex.changes import CellChange, SetText
from gitlab_jobs.outbox import Contents


def lost_work(memory: Memory, cells: dict[Place, Any]) -> Iterator[str]:
    """Texts and choices of people that are not what the project says."""
    for place, (at, text) in memory.texts.items():
        # What was emptied before the worker looked may be filled: that is what the job is for.
        was_seen_empty = not text and _is_filled_after(cells[place], at)
        if cells[place]["value"] != text and not was_seen_empty:
            yield f"{place} says {cells[place]['value']!r}, not what was typed at {at}: {text!r}"
    for place, (at, chosen) in memory.choices.items():
        there = cells[place]["metadata"].get("selectedAudioId")
        if there != chosen:
            yield f"{place} has {there!r} chosen, not {chosen!r} of {at}"


def undone_decisions(memory: Memory, cells: dict[Place, Any]) -> Iterator[str]:
    """Recordings that are gone; deletions and locks that did not last."""
    for place, name in memory.recorded:
        if name not in cells[place]["metadata"].get("attachments", {}):
            yield f"the recording {name} of {place} is lost"
    for place, name in memory.deleted_takes:
        if cells[place]["metadata"]["attachments"][name]["isDeleted"] is not True:
            yield f"the deleted take {name} of {place} has come back"
    for place in memory.deleted:
        if cells[place]["metadata"]["data"].get("deleted") is not True:
            yield f"the deleted verse {place} has come back"
    for place in memory.locked:
        if cells[place]["metadata"].get("isLocked") is not True:
            yield f"the lock of {place} is gone"


def half_results(
    files: dict[str, bytes], cells: dict[Place, Any], *, mended: bool
) -> Iterator[str]:
    """Takes without a pointer, and pointers without a take."""
    pointers = {path for path in files if path.startswith(paths.ATTACHMENT_POINTERS)}
    named: set[str] = set()
    for place, found in cells.items():
        for attachment in found["metadata"].get("attachments", {}).values():
            url = attachment["url"]
            pointer = paths.ATTACHMENT_POINTERS + url.removeprefix(paths.ATTACHMENT_FILES)
            named.add(pointer)
            if attachment["createdBy"] == BOT and pointer not in pointers:
                yield f"{place} names {url}, which has no pointer"
    orphans = {path for path in pointers - named if "by-alice" not in path and "by-bob" not in path}
    # A take that a repair left to the person's version leaves its pointer behind, which harms nobody.
    if orphans and not mended:
        yield f"pointers that no verse names: {sorted(orphans)}"


def missing_results(
    contents: Contents, cells: dict[Place, Any], memory: Memory, *, is_published: bool
) -> Iterator[str]:
    """Results that are not there, or are there although nothing was published."""
    for notebook, changes in contents.changes.items():
        for change in changes:
            place = (notebook, change.cell_id)
            found = cells[place]
            if not is_published:
                if _is_by_bot(found):
                    yield f"{place} was written although nothing was published"
            elif place not in memory.touched and not _is_done(change, found):
                yield f"{place} lacks its result"


def _is_filled_after(found: Any, at: int) -> bool:
    """Whether the worker wrote into a cell that it had seen emptied at this time."""
    return any(
        entry["author"] == BOT and entry["timestamp"] == at + 1 and entry["value"] == found["value"]
        for entry in found["metadata"]["edits"]
    )


def _is_by_bot(found: Any) -> bool:
    metadata = found["metadata"]
    authors = {entry["author"] for entry in metadata["edits"]}
    makers = {item["createdBy"] for item in metadata.get("attachments", {}).values()}
    return BOT in authors | makers


def _is_done(change: CellChange, found: Any) -> bool:
    if isinstance(change, SetText):
        return bool(found["value"] == change.text)
    metadata = found["metadata"]
    chosen = metadata.get("attachments", {}).get(metadata.get("selectedAudioId"), {})
    return bool(chosen.get("createdBy") == BOT)
