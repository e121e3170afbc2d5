"""YAML as this project reads and writes it: bounded, plain, the same for every parser.

Reading walks the parser's events once and refuses what a small file can use to cost much (anchors,
tags, merge keys, depth) before anything is built. Plain scalars mean what YAML 1.2's core schema says,
as in the editor: `no` is a word, a timestamp is text. Writing emits a subset that YAML 1.1 and 1.2
parsers read alike. Knows nothing of manifests and responses; those modules give the values meaning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Set
from datetime import date, datetime
from enum import Enum
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_NODES = 50_000
MAX_SCALAR_BYTES = 64 << 10

_FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_INT_DIGITS = 18

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(rf"[-+]?[0-9]{{1,{_MAX_INT_DIGITS}}}\Z", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]{1,20}\Z", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}\Z", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII)
_INFINITY = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z", re.ASCII)
_NAN = frozenset({".nan", ".NaN", ".NAN"})


class YamlRefused(ValueError):
    """Text that is not YAML, or YAML beyond what a manifest or a response may contain."""


def load_yaml(content: bytes, loader: Any = _FAST_LOADER) -> Any:
    """Read one document of plain values.

    Args:
        content: UTF-8 text, with or without a byte-order mark.
        loader: the PyYAML loader class whose parser is used. What two of them accept, they read
            alike; the pure one is stricter about tabs and a few malformed corners.

    Raises:
        YamlRefused: with the reason and, where known, the line.
    """
    if len(content) > MAX_BYTES:
        raise YamlRefused(f"longer than {MAX_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlRefused(f"not UTF-8 text (byte {error.start})") from error
    try:
        return _Builder(yaml.parse(text, Loader=loader)).document()
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" (line {error.problem_mark.line + 1})"
        raise YamlRefused(f"not valid YAML: {error.problem or error.context}{line}") from error
    except yaml.YAMLError as error:
        raise YamlRefused("not valid YAML: it contains characters that YAML forbids") from error


class _Builder:
    """Turns events into values, counting as it goes; recursion is bounded by `MAX_DEPTH`."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._nodes = 0

    def document(self) -> Any:
        value: Any = None
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise YamlRefused("more than one document")
                value = self._value(next(self._events), depth=1)
        return value

    def _value(self, event: Event, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise YamlRefused(f"more than {MAX_NODES} values")
        if depth > MAX_DEPTH:
            raise YamlRefused(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _refused_at(event, "anchors and aliases are not accepted")
        if getattr(event, "tag", None) is not None:
            raise _refused_at(event, "tags are not accepted")
        if isinstance(event, ScalarEvent):
            return _scalar(event)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(depth)
        if isinstance(event, MappingStartEvent):
            return self._mapping(depth)
        raise _refused_at(event, "unexpected structure")

    def _sequence(self, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._value(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent | AliasEvent):
                raise _refused_at(event, "a key must be a single word or text")
            if isinstance(event, ScalarEvent) and not event.style and event.value == "<<":
                raise _refused_at(event, "merge keys are not accepted")
            key = self._value(event, depth + 1)
            if key in result:
                raise _refused_at(event, f"the key {key!r} appears twice")
            result[key] = self._value(next(self._events), depth + 1)
        return result


def _refused_at(event: Event, reason: str) -> YamlRefused:
    mark = event.start_mark
    return YamlRefused(reason if mark is None else f"{reason} (line {mark.line + 1})")


def _scalar(event: ScalarEvent) -> Any:
    text: str = event.value
    if len(text.encode()) > MAX_SCALAR_BYTES:
        raise _refused_at(event, f"a text is longer than {MAX_SCALAR_BYTES} bytes")
    # Both parsers report plain style as None or as an empty string.
    return text if event.style else _plain_scalar(text)


def _plain_scalar(text: str) -> Any:
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.match(text):
        return int(text)
    if _OCTAL.match(text) or _HEX.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text)
    if _INFINITY.match(text):
        return -math.inf if text[0] == "-" else math.inf
    return math.nan if text in _NAN else text


# What a YAML 1.1 parser (or a lenient 1.2 one) might take for something else than text.
_PLAIN_START = re.compile(r"[^\W\d_]")
_WORDS = frozenset(
    "y n yes no on off true false null nan inf infinity none undefined".split()  # noqa: SIM905
)
# Characters that some parsers treat as line breaks or strip; only an escape is read alike by all.
_NEEDS_ESCAPE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def dump_yaml(value: Mapping[str, Any]) -> bytes:
    """Write plain values as block YAML: two-space indent, one line per text, UTF-8, final newline.

    NaN and infinities are left out of mappings (null in lists). Scalars of array libraries, enums and
    dates become plain values; lone surrogates, which no encoding can carry, become U+FFFD.

    Raises:
        TypeError: for a value that has no plain form.
    """
    text: str = yaml.dump(
        plain(value),
        Dumper=_Dumper,
        default_flow_style=False,
        allow_unicode=True,
        sort_keys=False,
        width=math.inf,
    )
    return text.encode()


def plain(value: Any, depth: int = 1) -> Any:
    """Reduce a value to str, int, float, bool, None, list and dict."""
    if depth > MAX_DEPTH:
        raise TypeError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Enum):
        return plain(value.value, depth)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, date):  # includes datetime
        return value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)
    return _plain_container(value, depth)


def _plain_container(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        items = ((str(key), item, plain(item, depth + 1)) for key, item in value.items())
        return {plain(key): made for key, item, made in items if made is not None or item is None}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, Set):
        return sorted(plain(item, depth + 1) for item in value)
    if callable(item := getattr(value, "item", None)):
        return plain(item(), depth + 1)
    raise TypeError(f"{type(value).__name__} has no plain form")


class _Dumper(yaml.SafeDumper):
    """Block style as the editor writes it: list items indented, never an anchor."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002, ARG002
        super().increase_indent(flow, False)  # noqa: FBT003


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style_of(text))


def _style_of(text: str) -> str | None:
    if _NEEDS_ESCAPE.search(text):
        return '"'
    if "\n" in text:
        return "|"
    if not _PLAIN_START.match(text) or text.casefold() in _WORDS:
        return "'"
    return None


_Dumper.add_representer(str, _represent_text)
