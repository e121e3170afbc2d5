"""Which cells a job works on, and why the others are left alone.

Three questions over the same rules: what to train on, what to transcribe, what to speak. Knows no
bytes: notebooks come parsed, existing pointers as paths. Reasons are written for a translator. Where
the editor plugin and the editor's own rules differ, see `docs/decisions/0002-which-take-counts.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from gitlab_jobs.callbacks import Skipped
from gitlab_jobs.codex.cells import Cell, cells_by_id, why_not_alive
from gitlab_jobs.codex.filters import FilterMatcher, Match
from gitlab_jobs.codex.notebook import Notebook
from gitlab_jobs.codex.takes import (
    Pointers,
    Take,
    is_selection_cleared,
    selected_take,
    takes_of,
)
from gitlab_jobs.errors import InvalidJob
from gitlab_jobs.job import VerseFilter

_SHOWN_ENTRIES = 10


@dataclass(frozen=True)
class ChosenCell:
    """A cell to work on, with its current take and the repository path of the take's pointer.

    `listed` means that the job names the cell itself: the user's consent to replace what is there.
    """

    cell: Cell
    take: Take | None
    pointer_path: str | None
    listed: bool


@dataclass(frozen=True)
class Selection:
    """The answer: cells to work on, cells left out that somebody may wonder about, stray entries."""

    chosen: tuple[ChosenCell, ...]
    skipped: tuple[Skipped, ...]
    unmatched: tuple[str, ...]

    def require_matches(self, verse_filter: VerseFilter) -> None:
        """Refuse a job whose whole include list names nothing in the project.

        Raises:
            InvalidJob: naming the entries.
        """
        if verse_filter.include and set(verse_filter.include) <= set(self.unmatched):
            shown = ", ".join(verse_filter.include[:_SHOWN_ENTRIES])
            more = len(verse_filter.include) - _SHOWN_ENTRIES
            tail = f" and {more} more" if more > 0 else ""
            raise InvalidJob(f"None of the listed verses exist in this project: {shown}{tail}")


@dataclass(frozen=True)
class _Reason:
    """Why a cell is left out; a quiet one is told only about cells that the job lists."""

    text: str
    quiet: bool = False


_Verdict = _Reason | tuple[Take | None, str | None]
_Judge = Callable[[Cell, Match], _Verdict]

_NO_TEXT = _Reason("it has no text", quiet=True)
_HAS_TEXT = _Reason("it already has text", quiet=True)
_HAS_AUDIO = _Reason("it already has a recording", quiet=True)
_NOTHING_RECORDED = _Reason("it has no recording", quiet=True)
_NOTHING_SELECTED = _Reason("none of its recordings is selected")
_REJECTED = _Reason("its recordings were deselected", quiet=True)
_CLEARED = _Reason("its recordings were deselected; list the verse to record it anew")
_DELETED_TAKE = _Reason("the selected recording was deleted", quiet=True)
_NO_FILE = _Reason("the selected recording's file has not reached the project yet")
_TWICE = _Reason("the same recording is used by another verse")
_OWN_AUDIO = _Reason("its recording was made by this worker")
_OWN_TEXT = _Reason("its text was written by this worker and nobody has confirmed it")
_MACHINE_TEXT = _Reason("its text was written by a machine and nobody has confirmed it")
_LOCKED = _Reason("it is locked")
_TAGS_MATTER = _Reason("its file must keep the tags of the source text")


def select_for_training(
    notebooks: Sequence[Notebook],
    verse_filter: VerseFilter,
    pointers: Pointers,
    bots: Collection[str] = (),
) -> Selection:
    """Cells with usable audio and text that a person wrote or confirmed.

    Args:
        notebooks: the target notebooks of the project.
        verse_filter: the job's `training` filter.
        pointers: pointer files that exist.
        bots: accounts of workers; what they made is never learned from.
    """
    used: set[str] = set()

    def judge(cell: Cell, match: Match) -> _Verdict:
        found = _usable_take(cell, pointers)
        if isinstance(found, _Reason):
            return found
        if reason := _why_not_learned(cell, found[0], match, bots):
            return reason
        if found[1] in used:
            return _TWICE
        used.add(found[1])
        return found

    return _select(notebooks, verse_filter, judge)


def select_for_transcription(
    notebooks: Sequence[Notebook], verse_filter: VerseFilter, pointers: Pointers
) -> Selection:
    """Cells with usable audio, and without text unless the job lists them."""
    strict = {notebook.path for notebook in notebooks if notebook.keeps_source_tags}

    def judge(cell: Cell, match: Match) -> _Verdict:
        found = _usable_take(cell, pointers)
        if isinstance(found, _Reason):
            return found
        if not match.listed and not cell.is_empty:
            return _HAS_TEXT
        if cell.is_locked:
            return _LOCKED
        return _TAGS_MATTER if cell.notebook in strict and not match.listed else found

    return _select(notebooks, verse_filter, judge)


def select_for_speech(notebooks: Sequence[Notebook], verse_filter: VerseFilter) -> Selection:
    """Cells with text, and without a recording unless the job lists them."""

    def judge(cell: Cell, match: Match) -> _Verdict:
        if cell.is_empty:
            return _NO_TEXT
        if not match.listed and selected_take(cell) is not None:
            return _HAS_AUDIO
        if not match.listed and is_selection_cleared(cell):
            return _CLEARED
        return _LOCKED if cell.is_locked else (selected_take(cell), None)

    return _select(notebooks, verse_filter, judge)


def texts_by_people(notebooks: Sequence[Notebook], bots: Collection[str] = ()) -> tuple[str, ...]:
    """All text of living verse cells that a person wrote or confirmed, in project order."""
    return tuple(
        cell.text
        for cell in _addressable_cells(notebooks)
        if why_not_alive(cell) is None
        and cell.text
        and not cell.is_text_by_machine()
        and not cell.is_text_by(bots)
    )


def _select(notebooks: Sequence[Notebook], verse_filter: VerseFilter, judge: _Judge) -> Selection:
    matcher = FilterMatcher(verse_filter)
    cells = list(_addressable_cells(notebooks))
    has_verses = any(cell.verse is not None and why_not_alive(cell) is None for cell in cells)
    chosen: list[ChosenCell] = []
    skipped: list[Skipped] = []
    for cell in cells:
        match = matcher.match(cell)
        if not match.wanted:
            continue
        reason = _why_out_of_scope(cell, match, has_verses=has_verses)
        result = reason or judge(cell, match)
        if isinstance(result, tuple):
            chosen.append(ChosenCell(cell, *result, listed=match.listed))
        elif match.listed or not result.quiet:
            skipped.append(Skipped(cell.id, cell.reference, result.text))
    return Selection(tuple(chosen), tuple(skipped), matcher.unmatched())


def _addressable_cells(notebooks: Sequence[Notebook]) -> Iterator[Cell]:
    for notebook in notebooks:
        yield from cells_by_id(notebook).values()


def _why_out_of_scope(cell: Cell, match: Match, *, has_verses: bool) -> _Reason | None:
    """Why a cell is not even looked at: not a living verse, or a heading among verses.

    Naming a cell asks for it whatever its place (a child only by its own id: it shares its parent's
    reference); so does "all" where there are no verses.
    """
    if dead := why_not_alive(cell):
        return _Reason(dead, quiet=True)
    if match.by_id:
        return None
    if cell.is_child:
        return _Reason("it belongs to another cell", quiet=True)
    if has_verses and cell.verse is None and not match.listed:
        return _Reason("it is not a verse (no reference)", quiet=True)
    return None


def _usable_take(cell: Cell, pointers: Pointers) -> _Reason | tuple[Take, str]:
    take = selected_take(cell)
    if take is not None:
        path = pointers.find(take.url)
        return _NO_FILE if path is None else (take, path)
    takes = takes_of(cell)
    if cell.metadata.get("selectedAudioId") in takes:
        return _DELETED_TAKE
    if all(take.is_deleted for take in takes.values()):
        return _NOTHING_RECORDED
    return _REJECTED if is_selection_cleared(cell) else _NOTHING_SELECTED


def _why_not_learned(cell: Cell, take: Take, match: Match, bots: Collection[str]) -> _Reason | None:
    if cell.is_empty:
        return _NO_TEXT
    if take.created_by in bots:
        return _OWN_AUDIO
    if cell.is_text_by(bots):
        return _OWN_TEXT
    return _MACHINE_TEXT if cell.is_text_by_machine() and not match.listed else None
