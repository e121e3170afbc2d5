"""A `.codex` file: JSON that people's editors share, so every byte we did not mean to change stays.

Loading remembers where each cell stands in the text; saving replaces the text of the changed cells and
nothing else. So indentation, final newline, byte-order mark, unknown keys, number spelling and even
oddities of other writers survive by construction. Knows nothing of what cells mean (`cells`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from gitlab_jobs.errors import ScriptoriumError

MAX_NOTEBOOK_BYTES = 64 << 20
MAX_CELL_DEPTH = 100

JsonObject = Mapping[str, Any]

_BOM = "\ufeff"
_SPACE = re.compile(r"[ \t\n\r]*")
_FIRST_INDENT = re.compile(r"\s*\{(\r?\n)([ \t]+)")
# What JavaScript escapes in a string; lone surrogates have no UTF-8 form.
_TO_ESCAPE = re.compile('[\x00-\x1f"\\\\\ud800-\udfff]')
_SHORT_ESCAPES = {
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
    '"': '\\"',
    "\\": "\\\\",
}


class NotebookError(ScriptoriumError):
    """A file that is no notebook; never to be taken for an empty one."""

    code = "INPUT_INVALID"


@dataclass(frozen=True, slots=True)
class Notebook:
    """One notebook as read. `cells` are not to be mutated; pass changed copies to `save`."""

    path: str
    cells: tuple[Any, ...]
    metadata: JsonObject
    _text: str
    _spans: tuple[tuple[int, int], ...]

    @property
    def keeps_source_tags(self) -> bool:
        """Whether the editor flags text here whose tags differ from those of the source text."""
        return self.metadata.get("enforceHtmlStructure") is True

    def save(self, changed: Mapping[int, JsonObject]) -> bytes:
        """The file with the cells at these positions replaced; without any, the bytes as read."""
        unit, newline = _style(self._text)
        parts: list[str] = []
        done = 0
        for position in sorted(changed):
            start, end = self._spans[position]
            indent = _line_indent(self._text, start)
            writer = _Writer("" if indent is None else unit, newline + (indent or ""))
            parts += [self._text[done:start], writer.value(changed[position])]
            done = end
        return "".join([*parts, self._text[done:]]).encode()


def load_notebook(path: str, content: bytes) -> Notebook:
    """Read a notebook.

    Raises:
        NotebookError: if it is not JSON, or has no list of cells.
    """
    if len(content) > MAX_NOTEBOOK_BYTES:
        raise NotebookError(f"{path} is larger than {MAX_NOTEBOOK_BYTES >> 20} MiB")
    try:
        text = content.decode()
        members, spans = _Reader(text).document()
    except RecursionError as error:
        raise NotebookError(f"{path} is nested too deeply") from error
    except ValueError as error:  # of the text encoding, of JSON, of an absurd number
        raise NotebookError(f"{path} is not JSON: {error}") from error
    cells, metadata = members.get("cells"), members.get("metadata")
    if not isinstance(cells, list):
        raise NotebookError(f"{path} has no list of cells")
    return Notebook(
        path, tuple(cells), metadata if isinstance(metadata, dict) else {}, text, tuple(spans)
    )


class _Number(float):
    """A float that remembers how it was spelled (`4.0`, `1e-7`, `50.60`)."""

    __slots__ = ("spelling",)

    def __init__(self, spelling: str) -> None:
        self.spelling = spelling


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


class _Reader:
    """Reads the outermost object by hand, to learn where its cells stand; the rest by the library."""

    def __init__(self, text: str) -> None:
        self._text = text
        decoder = json.JSONDecoder(
            parse_float=_Number,
            parse_int=lambda digits: _Number(digits) if digits == "-0" else int(digits),
            parse_constant=_refuse_constant,
        )
        self._decode = decoder.raw_decode

    def document(self) -> tuple[dict[str, Any], list[tuple[int, int]]]:
        members: dict[str, Any] = {}
        spans: list[tuple[int, int]] = []
        at = self._expect("{", self._skip(1 if self._text.startswith(_BOM) else 0))
        at = self._skip(at)
        while not self._text.startswith("}", at):
            if members:
                at = self._skip(self._expect(",", at))
            self._expect('"', at)
            key, at = self._decode(self._text, at)
            at = self._skip(self._expect(":", self._skip(at)))
            if key == "cells" and self._text.startswith("[", at):
                members[key], spans, at = self._elements(at + 1)
            else:
                members[key], at = self._decode(self._text, at)
            at = self._skip(at)
        if self._skip(at + 1) != len(self._text):
            raise ValueError(f"text after the end (character {at + 1})")
        return members, spans

    def _elements(self, at: int) -> tuple[list[Any], list[tuple[int, int]], int]:
        values: list[Any] = []
        spans: list[tuple[int, int]] = []
        at = self._skip(at)
        while not self._text.startswith("]", at):
            if values:
                at = self._skip(self._expect(",", at))
            value, end = self._decode(self._text, at)
            values.append(value)
            spans.append((at, end))
            at = self._skip(end)
        return values, spans, at + 1

    def _expect(self, character: str, at: int) -> int:
        if not self._text.startswith(character, at):
            raise ValueError(f"expected {character} (character {at})")
        return at + 1

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return at if match is None else match.end()


def _style(text: str) -> tuple[str, str]:
    """One level of indentation and the line end of a file; empty where it is written on one line."""
    match = _FIRST_INDENT.match(text.removeprefix(_BOM))
    return ("", "\n") if match is None else (match[2], match[1])


def _line_indent(text: str, at: int) -> str | None:
    """The blanks before a position, or None if something else stands on its line before it."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return None if line.strip(" \t") else line


class _Writer:
    """Writes a value as `JSON.stringify` does, numbers as they were spelled."""

    def __init__(self, unit: str, line_start: str) -> None:
        self._unit = unit
        self._line_start = line_start

    def value(self, value: Any, depth: int = 0) -> str:
        if depth > MAX_CELL_DEPTH:
            raise NotebookError(f"a cell is nested deeper than {MAX_CELL_DEPTH} levels")
        if isinstance(value, str):
            return _string(value)
        if isinstance(value, bool) or value is None:
            return {True: "true", False: "false", None: "null"}[value]
        if isinstance(value, int):
            return str(value)
        if isinstance(value, float):
            return value.spelling if isinstance(value, _Number) else _number(value)
        if isinstance(value, Mapping):
            colon = ": " if self._unit else ":"
            members = [
                f"{_string(key)}{colon}{self.value(item, depth + 1)}" for key, item in value.items()
            ]
            return self._enclose("{", members, "}", depth)
        return self._enclose("[", [self.value(item, depth + 1) for item in value], "]", depth)

    def _enclose(self, opening: str, items: list[str], closing: str, depth: int) -> str:
        if not items or not self._unit:
            return f"{opening}{','.join(items)}{closing}"
        outer = self._line_start + self._unit * depth
        inner = outer + self._unit
        return f"{opening}{inner}{f',{inner}'.join(items)}{outer}{closing}"


def _string(text: str) -> str:
    return f'"{_TO_ESCAPE.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return _SHORT_ESCAPES.get(character) or f"\\u{ord(character):04x}"


def _number(value: float) -> str:
    """A float of ours as JavaScript writes it: `4`, `0.00005`, `1e-7`, `1e+21`."""
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa
    power = int(exponent)
    return format(Decimal(repr(value)), "f") if -7 < power < 0 else f"{mantissa}e{power:+d}"
