"""A job's verse filter against cells: by id exactly, by reference after parsing.

Knows nothing of audio or text. "MAT 1:2" names a cell whose reference is exactly that verse, in any
case and with any leftover suffix; it does not name a cell "MAT 1:1-3" that contains it, because
naming a cell is the consent to replace all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gitlab_jobs.codex.cells import Cell
from gitlab_jobs.codex.references import first_global_reference, parse_reference
from gitlab_jobs.job import VerseFilter


@dataclass(frozen=True, slots=True)
class Match:
    """What a filter says about a cell; `by_id`: an entry is this cell's id, letter by letter."""

    wanted: bool
    listed: bool
    by_id: bool


class FilterMatcher:
    """One filter, asked cell by cell; remembers which entries never matched anything."""

    def __init__(self, verse_filter: VerseFilter) -> None:
        """Take the include list first, then what is also excluded away from it."""
        self._include = _Entries(verse_filter.include)
        self._exclude = _Entries(verse_filter.exclude)
        self._takes_all = not verse_filter.include

    def match(self, cell: Cell) -> Match:
        """Say whether the filter lets the cell through, and whether it names it."""
        by_id, by_reference = self._include.find(cell)
        listed = by_id or by_reference
        excluded = any(self._exclude.find(cell))
        wanted = (listed or self._takes_all) and not excluded
        return Match(wanted=wanted, listed=listed, by_id=by_id)

    def unmatched(self) -> tuple[str, ...]:
        """Entries that matched none of the cells asked about so far, in the filter's order."""
        return self._include.unmatched() + self._exclude.unmatched()


class _Entries:
    """One list of the filter, indexed by every way to match it."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = tuple(dict.fromkeys(entries))
        self._texts = frozenset(self._entries)
        self._verses = {
            verse: entry for entry in self._entries if (verse := parse_reference(entry))
        }
        self._matched: set[str] = set()

    def find(self, cell: Cell) -> tuple[bool, bool]:
        by_id = cell.id in self._texts
        named = {cell.id} if by_id else set()
        if cell.type == "text" and not cell.is_child:
            raw = first_global_reference(cell.metadata)
            named |= {raw} & self._texts if raw is not None else set()
            named |= {self._verses[cell.verse]} if cell.verse in self._verses else set()
        self._matched |= named
        return by_id, bool(named)

    def unmatched(self) -> tuple[str, ...]:
        return tuple(entry for entry in self._entries if entry not in self._matched)
