"""Builds the result part of a final commit from the newest files on the branch.

Called anew after every collision, so a person's edit in between is never overwritten: intended changes to
cells are applied to the notebook as it is now, and dropped where they no longer fit. Knows no lease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gitlab_jobs.codex.apply import EditContext, apply_changes
from gitlab_jobs.codex.changes import CellChange
from gitlab_jobs.codex.notebook import NotebookError
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.outbox import Contents
from gitlab_jobs.store import (
    Change,
    Create,
    CreatePointer,
    FileVersion,
    ProjectStore,
    Update,
)


@dataclass(frozen=True, slots=True)
class Composition:
    """Changes ready to be committed, and what was left out, in words for a translator."""

    changes: tuple[Change, ...]
    dropped: tuple[str, ...]


def compose(
    store: ProjectStore, contents: Contents, context: EditContext, *, is_retry: bool = False
) -> Composition:
    """Apply what an attempt wants to the project as it is now.

    On a retry the pointers of new takes are looked for first: a person who restored an old notebook may
    have left the file of an earlier attempt behind, and creating it again would fail for ever.
    """
    present = store.read({*contents.pointers, *contents.texts, *contents.changes})
    changes = put_files(contents.pointers, contents.texts, present)
    dropped: list[str] = []
    whole = replace(context, pointers=contents.takes)
    for notebook, intended in contents.changes.items():
        found = present.get(notebook)
        if found is None:
            dropped.append(f"all of {notebook}: the file is gone")
        else:
            changes += _edit(found, intended, whole, dropped)
    if is_retry:
        changes = _without_existing(store, changes)
    return Composition(tuple(changes), tuple(dropped))


def _without_existing(store: ProjectStore, changes: Sequence[Change]) -> list[Change]:
    paths = {change.path for change in changes if isinstance(change, CreatePointer)}
    there = store.read(paths) if paths else {}
    kept: list[Change] = []
    for change in changes:
        found = there.get(change.path) if isinstance(change, CreatePointer) else None
        if found is None or not isinstance(change, CreatePointer):
            kept.append(change)
        elif found.content != change.pointer.text():
            kept.append(Update(change.path, change.pointer.text(), found.commit_id))
    return kept


def _edit(
    found: FileVersion, intended: Sequence[CellChange], context: EditContext, dropped: list[str]
) -> list[Change]:
    try:
        applied = apply_changes(found.path, found.content, intended, context)
    except NotebookError as error:
        dropped.append(f"all of {found.path}: {error}")
        return []
    dropped += [f"{item.reference or item.cell_id}: {item.reason}" for item in applied.dropped]
    changes: list[Change] = [CreatePointer(path, p) for path, p in applied.pointers.items()]
    if applied.is_changed:
        changes.append(Update(found.path, applied.content, found.commit_id))
    return changes


def put_files(
    pointers: Mapping[str, Pointer],
    texts: Mapping[str, str],
    present: Mapping[str, FileVersion],
) -> list[Change]:
    """Large and small files by repository path, as changes to those that are `present` now."""
    changes: list[Change] = []
    for path, pointer in pointers.items():
        # An update is never converted by the server, so the pointer text can be sent as it is.
        exists = path in present
        changes.append(Update(path, pointer.text()) if exists else CreatePointer(path, pointer))
    for path, text in texts.items():
        content = text.encode()
        found = present.get(path)
        if found is None:
            changes.append(Create(path, content))
        elif found.content != content:
            changes.append(Update(path, content, found.commit_id))
    return changes
