"""After a publication: did it overwrite a person, and if so, put back what they wrote.

GitLab checks an update's base first and fixes the parent of the new commit a moment later; a person's sync
that lands in between is overwritten although the commit succeeds (GitLab: `Files::MultiService`). The parent
then holds another notebook than the one our update was made from:

    base ──► lost (a person's)  = parent ──► ours      the next commit: lost, and our cells that it left alone
      └──────── our update ───────────────────┘

A cell that a person changed is theirs. Works on cells as wholes, knows no job's intentions and no lease: it
needs the commit alone, so it can be done late, also by the successor of a worker that was killed. Costs
nothing where nobody else committed meanwhile.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from gitlab_jobs.codex.cells import Cell, cells_of, milliseconds
from gitlab_jobs.codex.notebook import JsonObject, NotebookError, load_notebook
from gitlab_jobs.codex.timestamps import selected_at_ms
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.git_objects import blob_id
from gitlab_jobs.lease import Patience
from gitlab_jobs.publication import Journal, Publication, marked, new_mark
from gitlab_jobs.store import Committed, FileVersion, ProjectStore, Update

logger = logging.getLogger(__name__)

MAX_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class _Overwritten:
    """Three versions of one notebook: what we read, what a person made of it, what we wrote over that.

    `is_repair` tells that what we wrote was an earlier repair: then there is people's work on both sides.
    """

    path: str
    base: bytes
    lost: bytes
    ours: bytes
    is_repair: bool


def mend(
    store: ProjectStore,
    job_id: str,
    publication: Publication,
    commit: Committed | None,
    journal: Journal,
    patience: Patience,
) -> tuple[str, ...]:
    """Put back what people wrote into notebooks while a commit passed over them.

    Args:
        store: the project.
        job_id: whose commit it was, for people.
        publication: what was written, as it is in the journal.
        commit: the commit, if the server's reply told.
        journal: is told of every repair before it is tried, and of the end of the look.
        patience: how long to keep trying.

    Returns:
        The notebooks that were repaired.

    Raises:
        StoreError: it could not be done within `patience`; the journal keeps what is left to do.
    """
    repaired: dict[str, None] = {}
    for _turn in range(MAX_ROUNDS):
        commit = commit or find_commit(store, publication)
        overwritten = _find(store, commit, publication) if commit else []
        if not overwritten:
            break
        names = [found.path for found in overwritten]
        logger.warning("job %s overlapped with edits of %s; putting them back", job_id, names)
        repaired |= dict.fromkeys(names)
        message = f"scriptorium: restore edits beside job {job_id}"
        repair, commit = _repair(store, overwritten, message, journal, patience)
        journal.settle(publication)
        publication = repair
    journal.settle(publication)
    return tuple(repaired)


def find_commit(store: ProjectStore, publication: Publication) -> Committed | None:
    """The commit of a publication; None if it never reached the branch."""
    for path in dict.fromkeys(edit.path for edit in publication.edits):
        commit = store.last_commit(path, publication.mark)
        if commit is not None:
            return commit
    return None


def _find(store: ProjectStore, commit: Committed, publication: Publication) -> list[_Overwritten]:
    suspects = [edit for edit in publication.edits if edit.base not in (None, commit.parent_id)]
    if not suspects:
        return []
    names = {edit.path for edit in suspects}
    after, before = store.read(names, commit.id), store.read(names, commit.parent_id)
    bases = {base: store.read(names, base) for base in {edit.base for edit in suspects}}
    found: dict[str, _Overwritten] = {}
    for edit in suspects:
        ours, lost, base = (
            after.get(edit.path),
            before.get(edit.path),
            bases[edit.base].get(edit.path),
        )
        if ours is None or lost is None or base is None or blob_id(ours.content) != edit.blob_id:
            continue  # an earlier try, which never reached the branch
        # Of tries with the same content the last one counts.
        found.pop(edit.path, None)
        if base.blob_id != lost.blob_id:
            found[edit.path] = _Overwritten(
                edit.path, base.content, lost.content, ours.content, publication.is_repair
            )
    return list(found.values())


def _repair(
    store: ProjectStore,
    overwritten: Collection[_Overwritten],
    message: str,
    journal: Journal,
    patience: Patience,
) -> tuple[Publication, Committed | None]:
    """Commit what the notebooks should be; built anew from the branch head at every try.

    Returns:
        The repair, without edits if there is nothing (any more) to put back, and its commit unless the
        reply was lost.
    """
    repair = Publication(new_mark(), is_repair=True)
    committed: Committed | None = None
    for attempt in patience.attempts():
        with attempt:
            heads = store.read([found.path for found in overwritten])
            edits = [edit for found in overwritten if (edit := _edit(found, heads)) is not None]
            if edits:
                repair = repair.with_try(edits)
                journal.note(repair)
                reach("mend.intended")
                committed = store.commit(edits, marked(message, repair.mark))
                reach("mend.acted")
    return repair, committed


def _edit(found: _Overwritten, heads: Mapping[str, FileVersion]) -> Update | None:
    head = heads.get(found.path)
    if head is None:
        return None
    try:
        if head.content == found.ours:
            content = _with_our_cells(found)
        else:
            content = _with_lost_cells(found, head.content)
    except NotebookError as error:
        logger.error("edits of %s cannot be put back: %s", found.path, error)
        return None
    return None if content == head.content else Update(found.path, content, head.commit_id)


def _with_our_cells(found: _Overwritten) -> bytes:
    """The person's version, and our cells where they changed nothing."""
    base, ours = _by_id(found.path, found.base), _by_id(found.path, found.ours)
    lost = load_notebook(found.path, found.lost)
    changed: dict[int, JsonObject] = {}
    for cell in cells_of(lost):
        before, made = base.get(cell.id), ours.get(cell.id)
        if before is None or made is None or made.json == before.json:
            continue
        if cell.json == before.json:
            changed[cell.position] = made.json
        elif found.is_repair:
            changed[cell.position] = _both(cell, made)
        else:
            logger.warning("%s in %s stays as a person changed it", cell.name, found.path)
    return lost.save(changed)


def _with_lost_cells(found: _Overwritten, content: bytes) -> bytes:
    """The branch head, which somebody has changed again, and the person's cells in it."""
    base, ours = _by_id(found.path, found.base), _by_id(found.path, found.ours)
    lost, head = _by_id(found.path, found.lost), load_notebook(found.path, content)
    changed: dict[int, JsonObject] = {}
    for cell in cells_of(head):
        before, theirs, made = base.get(cell.id), lost.pop(cell.id, None), ours.get(cell.id)
        if theirs is None or (before is not None and theirs.json == before.json):
            continue
        untouched = made is not None and made.json == cell.json
        put_back = theirs.json if untouched else _both(theirs, cell)
        if put_back != cell.json:
            changed[cell.position] = put_back
    for cell_id in lost.keys() - base.keys():
        logger.error("the new cell %s of %s is only in the history", cell_id, found.path)
    return head.save(changed)


def _both(lost: Cell, head: Cell) -> JsonObject:
    """A cell that two people changed: all history and takes, the newer text and the newer choice."""
    metadata: dict[str, Any] = {**lost.metadata, **head.metadata}
    for key in ("edits", "data", "attachments"):
        metadata[key] = _united(lost.metadata.get(key), head.metadata.get(key))
    if isinstance(metadata["edits"], list):
        metadata["edits"].sort(key=_written_ms)
    if selected_at_ms(lost) > selected_at_ms(head):
        for key in ("selectedAudioId", "selectionTimestamp"):
            metadata[key] = lost.metadata.get(key)
    written, rewritten = lost.newest_value_edit, head.newest_value_edit
    is_newer = written is not None and (
        rewritten is None or written.timestamp > rewritten.timestamp
    )
    value = lost.value if is_newer else head.value
    kept = {key: item for key, item in metadata.items() if item is not None}
    return {**head.json, "value": value, "metadata": kept}


def _united(lost: Any, head: Any) -> Any:
    if isinstance(lost, dict) and isinstance(head, dict):
        newer = {
            key: item
            for key, item in lost.items()
            if _changed_ms(item) > _changed_ms(head.get(key))
        }
        return {**lost, **head, **newer}
    if isinstance(lost, list) and isinstance(head, list):
        return [*head, *(entry for entry in lost if entry not in head)]
    return copy.copy(lost if head is None else head)


def _written_ms(entry: Any) -> int:
    """When an entry of the history was written; 0 for one that cannot be read."""
    return milliseconds(entry.get("timestamp")) if isinstance(entry, dict) else 0


def _changed_ms(attachment: Any) -> int:
    """When an attachment was changed last; 0 for anything else."""
    return milliseconds(attachment.get("updatedAt")) if isinstance(attachment, dict) else 0


def _by_id(path: str, content: bytes) -> dict[str, Cell]:
    cells = cells_of(load_notebook(path, content))
    return {cell.id: cell for cell in cells if cell.id}
