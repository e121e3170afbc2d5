"""Connections: one page of a list, with cursors that stay good while the list changes.

Knows lists and page arguments; what is in them is the resolvers' business.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from graphql import GraphQLError

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class PageArguments:
    """What a query says about the page it wants."""

    first: int | None = None
    last: int | None = None
    after: str | None = None
    before: str | None = None

    @classmethod
    def take(cls, arguments: dict[str, Any]) -> PageArguments:
        """Take the page arguments out of a field's arguments."""
        return cls(*(arguments.pop(name, None) for name in cls.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class PageInfo:
    """Where the page lies."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@dataclass(frozen=True, slots=True)
class Edge(Generic[T]):
    """A row and its cursor."""

    cursor: str
    node: T


@dataclass(frozen=True, slots=True)
class Connection(Generic[T]):
    """One page of a list; `count` is of the whole list."""

    nodes: Sequence[T]
    edges: Sequence[Edge[T]]
    page_info: PageInfo
    count: int

    def map(self, convert: Callable[[T], U]) -> Connection[U]:
        """Return the same page of other rows."""
        nodes = [convert(node) for node in self.nodes]
        edges = [Edge(edge.cursor, node) for edge, node in zip(self.edges, nodes, strict=True)]
        return Connection(nodes, edges, self.page_info, self.count)


@dataclass(frozen=True, slots=True)
class Keyset(Generic[T]):
    """How rows are named in cursors: `key_of` a row, and how far down the list a key lies.

    `skipped(key)` counts the rows up to and including the one with that key, also when it is gone.
    """

    key_of: Callable[[int, T], Any]
    skipped: Callable[[Any], int]


BY_POSITION: Keyset[Any] = Keyset(lambda index, _row: index, lambda key: int(key) + 1)
"""Names rows by their place, for lists that belong to one commit and never change."""


def page_of(
    items: Sequence[T], keyset: Keyset[T], arguments: PageArguments, max_size: int
) -> Connection[T]:
    """Cut a page out of a list; a larger page than `max_size` is clipped, as is none at all."""
    start, end = 0, len(items)
    if arguments.after is not None:
        start = _decode(arguments.after, keyset.skipped)
    if arguments.before is not None:
        end = _decode(arguments.before, keyset.skipped) - 1
    if arguments.last is not None and arguments.first is None:
        start = max(start, end - min(_size(arguments.last), max_size))
    else:
        size = max_size if arguments.first is None else min(_size(arguments.first), max_size)
        end = min(end, start + size)
    rows = items[start:end]
    edges = [Edge(_encode(keyset.key_of(start + i, row)), row) for i, row in enumerate(rows)]
    info = PageInfo(
        has_next_page=end < len(items) and bool(rows),
        has_previous_page=start > 0,
        start_cursor=edges[0].cursor if edges else None,
        end_cursor=edges[-1].cursor if edges else None,
    )
    return Connection(rows, edges, info, len(items))


def _size(asked: int) -> int:
    if asked < 0:
        raise GraphQLError("`first` and `last` must be positive integers")
    return asked


def _encode(key: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _decode(cursor: str, skipped: Callable[[Any], int]) -> int:
    try:
        return skipped(json.loads(base64.urlsafe_b64decode(cursor)))
    except (binascii.Error, ValueError, TypeError, KeyError) as error:
        raise GraphQLError("Please provide a valid cursor") from error
