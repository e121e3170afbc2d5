"""One cell of a notebook as a job sees it: who it is, what it says, who wrote that.

A read-only view over the JSON; legacy shapes are read, never rewritten. Knows nothing of audio
(`takes`), of filters (`selection`) or of how cells are changed (`edits`, `attachments`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gitlab_jobs.codex.notebook import Notebook
from gitlab_jobs.codex.references import Reference, parse_reference, reference_of
from gitlab_jobs.codex.text import is_blank, plain_text

VALUE_PATH = ["value"]
_MACHINE_TYPES = frozenset({"llm-generation", "llm-edit"})
# Which of two entries of the same time the editor's merge prefers; the rest stand between these.
_TIE_RANKS = {"migration": 3, "user-edit": 2, "initial-import": 0}


@dataclass(frozen=True)
class Edit:
    """One entry of a cell's history; only what decides about text is read."""

    path: list[Any]
    value: Any
    timestamp: int
    type: str
    author: str | None
    is_preview: bool
    validators: frozenset[str]


@dataclass(frozen=True)
class Cell:
    """A cell and its place: `position` counts in the notebook's list of cells."""

    notebook: str
    position: int
    json: Mapping[str, Any]

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """The cell's `metadata`, empty if it has none."""
        return _mapping(self.json.get("metadata"))

    @cached_property
    def data(self) -> Mapping[str, Any]:
        """The cell's `metadata.data`, empty if it has none."""
        return _mapping(self.metadata.get("data"))

    @property
    def id(self) -> str:
        """Its identity; empty for the few that have none and can never be addressed."""
        cell_id = self.metadata.get("id")
        return cell_id if isinstance(cell_id, str) else ""

    @property
    def type(self) -> str:
        """`text`, `paratext`, `style` or `milestone`; older files keep it in `data` or nowhere."""
        kind = self.metadata.get("type") or self.data.get("type") or "text"
        return str(kind)

    @cached_property
    def reference(self) -> str | None:
        """Its verse reference as written, in the editor's order of places."""
        return reference_of(self.metadata)

    @cached_property
    def verse(self) -> Reference | None:
        """Its reference, parsed; None for headings, documents, and cells of subtitles."""
        return None if self.reference is None else parse_reference(self.reference)

    @property
    def name(self) -> str:
        """What to call the cell when talking to a person."""
        return self.reference or self.id

    @property
    def is_child(self) -> bool:
        """Whether it hangs below another cell (inserted lines, cues of a verse)."""
        return bool(self.metadata.get("parentId")) or self.id.count(":") > 1

    @property
    def is_deleted(self) -> bool:
        """Whether a person removed it; cells are never removed from the file."""
        return self.data.get("deleted") is True

    @property
    def is_merged(self) -> bool:
        """Whether its content went into the cell before it."""
        return self.data.get("merged") is True

    @property
    def is_hidden(self) -> bool:
        """Whether the editor does not show it."""
        return self.data.get("hidden") is True

    @property
    def is_locked(self) -> bool:
        """Whether the editor refuses changes to it."""
        return self.metadata.get("isLocked") is True

    @property
    def value(self) -> str:
        """The text as stored, an HTML fragment."""
        value = self.json.get("value")
        return value if isinstance(value, str) else ""

    @cached_property
    def text(self) -> str:
        """The text as words; empty if there is none."""
        text = plain_text(self.value)
        return "" if is_blank(text) else text

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read."""
        return not self.text

    @cached_property
    def edits(self) -> tuple[Edit, ...]:
        """Its history in file order; entries that the editor itself would drop are left out."""
        entries = self.metadata.get("edits")
        found = (_edit(entry) for entry in entries) if isinstance(entries, list) else ()
        return tuple(edit for edit in found if edit is not None)

    @cached_property
    def value_edits(self) -> tuple[Edit, ...]:
        """The entries that decide what the text is."""
        return tuple(edit for edit in self.edits if edit.path == VALUE_PATH and not edit.is_preview)

    @cached_property
    def newest_value_edit(self) -> Edit | None:
        """The entry that wins the editor's merge."""

        def strength(edit: Edit) -> tuple[int, int]:
            return (edit.timestamp, _TIE_RANKS.get(edit.type, 1))

        return max(reversed(self.value_edits), key=strength, default=None)

    def is_text_by_machine(self) -> bool:
        """Whether a machine wrote the text and no person confirmed it."""
        edit = self._edit_behind_text()
        return edit is not None and edit.type in _MACHINE_TYPES and not edit.validators

    def is_text_by(self, authors: Collection[str]) -> bool:
        """Whether one of these accounts wrote the text and nobody else confirmed it."""
        edit = self._edit_behind_text()
        return edit is not None and edit.author in authors and edit.validators <= set(authors)

    def _edit_behind_text(self) -> Edit | None:
        """The newest entry, if it is what the cell says now (compared as words)."""
        edit = self.newest_value_edit
        if edit is None or not isinstance(edit.value, str):
            return None
        return edit if edit.value == self.value or plain_text(edit.value) == self.text else None


def cells_of(notebook: Notebook) -> Iterator[Cell]:
    """The cells of a notebook in order; entries that are no objects are passed over."""
    for position, json in enumerate(notebook.cells):
        if isinstance(json, dict):
            yield Cell(notebook.path, position, json)


def cells_by_id(notebook: Notebook) -> dict[str, Cell]:
    """Cells that an id leads to: of several with one id, which the editor will merge, the first alive."""
    by_id: dict[str, Cell] = {}
    for cell in cells_of(notebook):
        known = by_id.get(cell.id)
        if known is None or (why_not_alive(known) and not why_not_alive(cell)):
            by_id[cell.id] = cell
    by_id.pop("", None)
    return by_id


def why_not_alive(cell: Cell) -> str | None:
    """Why a cell is no place for text or audio at all, whoever asks; None if it is one."""
    if cell.type != "text":
        return f"it is not a verse ({cell.type})"
    if cell.is_deleted:
        return "it was deleted"
    if cell.is_merged:
        return "it was merged into another verse"
    return "it is hidden" if cell.is_hidden else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _edit(entry: Any) -> Edit | None:
    if not isinstance(entry, dict):
        return None
    path, value = entry.get("editMap"), entry.get("value")
    if not isinstance(path, list):
        if "cellValue" not in entry:
            return None
        path, value = VALUE_PATH, entry["cellValue"]  # before September 2025
    author = entry.get("author")
    return Edit(
        path=path,
        value=value,
        timestamp=milliseconds(entry.get("timestamp")),
        type=str(entry.get("type")),
        author=author if isinstance(author, str) else None,
        is_preview=entry.get("preview") is True,
        validators=validators(entry.get("validatedBy")),
    )


def milliseconds(value: Any) -> int:
    """A timestamp as the merge compares it; anything that is no number counts as 0."""
    return int(value) if isinstance(value, int | float) and abs(value) < 2**53 else 0


def validators(entries: Any) -> frozenset[str]:
    """Who confirmed something and did not take it back; older files list plain names."""
    names: set[str] = set()
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, str):
            names.add(entry)
        elif isinstance(entry, dict) and entry.get("isDeleted") is not True:
            names.add(str(entry.get("username")))
    return frozenset(names)
