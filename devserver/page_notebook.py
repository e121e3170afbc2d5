"""A `.codex` notebook as a person reads it: references, plain text, takes, states.

A tolerant view for a page, no more: nothing here is written back. Cells that are not what they should
be are shown as far as they go. HTML is reduced to text by a real parser. Knows no HTTP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from selectolax.lexbor import LexborHTMLParser

_REFERENCE = re.compile(r"(\S+ \d+:\d+(?:-\d+)?)(?::.*)?\Z")
"""A reference; in old projects ids of child cells carry further parts behind a colon."""

_FLAGS = ("deleted", "merged", "hidden")


@dataclass(frozen=True, slots=True)
class Take:
    """One recording; `path` is where its pointer lies, None if it is not in the repository."""

    id: str
    path: str | None
    duration_s: float | None
    created_at_ms: float
    created_by: str
    is_selected: bool
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell; `kind` is milestone, text, paratext or style."""

    id: str
    kind: str
    reference: str
    text: str
    author: str
    is_machine_text: bool
    states: tuple[str, ...]
    takes: tuple[Take, ...]

    @property
    def is_verse(self) -> bool:
        """Whether the cell counts as a verse in progress figures."""
        return self.kind == "text" and bool(self.reference) and not set(self.states) & set(_FLAGS)

    @property
    def is_audible(self) -> bool:
        """Whether there is a take that was not deleted."""
        return any(take.path is not None and not take.is_deleted for take in self.takes)

    @property
    def current_take(self) -> Take | None:
        """The take an editor would play."""
        return next((take for take in self.takes if take.is_selected), None)

    @property
    def other_takes(self) -> tuple[Take, ...]:
        """The takes besides the current one."""
        return tuple(take for take in self.takes if not take.is_selected)


@dataclass(frozen=True)
class NotebookView:
    """A whole notebook, or why it cannot be shown."""

    title: str = ""
    direction: str = "auto"
    cells: tuple[CellView, ...] = ()
    problem: str = ""

    @cached_property
    def verses(self) -> int:
        """How many cells there are to translate."""
        return sum(cell.is_verse for cell in self.cells)

    @cached_property
    def with_text(self) -> int:
        """How many verses have text."""
        return sum(cell.is_verse and bool(cell.text) for cell in self.cells)

    @cached_property
    def with_audio(self) -> int:
        """How many verses have a take that can be played."""
        return sum(cell.is_verse and cell.is_audible for cell in self.cells)


def is_notebook(path: str) -> bool:
    """Tell whether a file is shown as a notebook."""
    return path.endswith((".codex", ".source"))


def read_notebook(content: bytes, known_paths: Collection[str]) -> NotebookView:
    """Read a notebook; `known_paths` are the files of the repository, to find takes among."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        return NotebookView(problem=f"This is not JSON: {error}")
    cells = document.get("cells") if isinstance(document, dict) else None
    if not isinstance(cells, list):
        return NotebookView(problem="There is no list of cells in it.")
    metadata = _mapping(document.get("metadata"))
    return NotebookView(
        title=_text(metadata.get("fileDisplayName")),
        direction="rtl" if metadata.get("textDirection") == "rtl" else "auto",
        cells=tuple(_cell(cell, known_paths) for cell in cells if isinstance(cell, dict)),
    )


def plain_text(html: str) -> str:
    """Reduce an HTML fragment to its text: line breaks stay, footnotes and scripts go."""
    if "<" not in html and "&" not in html:
        return html.strip()
    tree = LexborHTMLParser(f"<body>{html}</body>")
    for node in tree.css("script, style, template, sup.footnote-marker"):
        node.decompose()
    for node in tree.css("br, p, div, li"):
        node.insert_after("\n")
    text = tree.body.text() if tree.body else ""
    return re.sub(r"[ \t\u00a0]*\n\s*", "\n", text).strip()


def _cell(cell: dict[str, Any], known_paths: Collection[str]) -> CellView:
    metadata = _mapping(cell.get("metadata"))
    data = _mapping(metadata.get("data"))
    edit = _newest_text_edit(metadata)
    states = [flag for flag in _FLAGS if data.get(flag) is True]
    if metadata.get("isLocked") is True:
        states.append("locked")
    return CellView(
        id=_text(metadata.get("id")),
        kind=_text(metadata.get("type") or data.get("type")) or "text",
        reference=_reference(metadata, data),
        text=plain_text(_text(cell.get("value"))),
        author=_text(edit.get("author")),
        is_machine_text=edit.get("type") in ("llm-generation", "llm-edit"),
        states=tuple(states),
        takes=_takes(metadata, known_paths),
    )


def _reference(metadata: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    references = data.get("globalReferences")
    first = references[0] if isinstance(references, list) and references else None
    for candidate in (_text(metadata.get("id")), _text(first)):
        if match := _REFERENCE.match(candidate):
            return match[1]
    parts = [_text(metadata.get(key)) for key in ("bookCode", "chapter", "verse")]
    if all(parts):
        return f"{parts[0]} {parts[1]}:{parts[2]}"
    return _text(first) or _text(metadata.get("cellLabel"))


def _newest_text_edit(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    edits = metadata.get("edits")
    texts = [
        edit
        for edit in (edits if isinstance(edits, list) else [])
        if isinstance(edit, dict)
        and not edit.get("preview")
        and edit.get("editMap") in (["value"], None)
    ]
    return max(texts, key=lambda edit: _number(edit.get("timestamp")), default={})


def _takes(metadata: Mapping[str, Any], known_paths: Collection[str]) -> tuple[Take, ...]:
    found = {
        take_id: take
        for take_id, take in _mapping(metadata.get("attachments")).items()
        if isinstance(take, dict) and take.get("type") == "audio"
    }
    live = [take_id for take_id, take in found.items() if not take.get("isDeleted")]
    selected = metadata.get("selectedAudioId")
    if selected is None and live:
        selected = max(live, key=lambda take_id: _number(found[take_id].get("createdAt")))
    return tuple(
        Take(
            id=take_id,
            path=_take_path(_text(take.get("url")), known_paths),
            duration_s=_number(_mapping(take.get("metadata")).get("durationSec")) or None,
            created_at_ms=_number(take.get("createdAt")),
            created_by=_text(take.get("createdBy")),
            is_selected=take_id == selected and take_id in live,
            is_deleted=bool(take.get("isDeleted")),
        )
        for take_id, take in found.items()
    )


def _take_path(url: str, known_paths: Collection[str]) -> str | None:
    path = url.replace("\\", "/").lstrip("/")
    pointer = path.replace(".project/attachments/files/", ".project/attachments/pointers/")
    return next((found for found in (pointer, path) if found in known_paths), None)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) and value is not True else ""


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
