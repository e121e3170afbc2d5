"""Correcting as a walk along the heard text: at every place one action, chosen from what is near.

The edit model of SentenceTransmorgrifier (Joshua Lansford, Apache-2.0): seven characters ahead, seven
consumed, seven written, and how many insertions or deletions came just before. An end mark closes
both texts, so that a final full stop can be inserted before it. Works on code points; knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

CONTEXT = 7
WIDTH = 3 * CONTEXT
"""Code points in a context: ahead, consumed, written."""
COUNTERS = 2
END = 0x03
"""The control character "end of text"."""
NOTHING = 0
"""Beyond either end of a text."""

Codes = NDArray[np.int64]


class Action(IntEnum):
    """What to do at a place; all but `INSERT` consume one character."""

    MATCH = 0
    DELETE = 1
    INSERT = 2
    UPPER = 3
    LOWER = 4


@dataclass(frozen=True, slots=True)
class Step:
    """One decision of a walk: what was near, and what was right to do there."""

    context: tuple[int, ...]
    counters: tuple[int, int]
    action: Action
    written: int
    """The character to insert; `NOTHING` for the other actions."""


def codes_of(text: str) -> list[int]:
    """Code points, closed by the end mark."""
    return [*map(ord, text), END]


def walk(heard: str, written: str) -> Iterator[Step]:
    """The decisions that turn one text into the other."""
    source = codes_of(heard)
    consumed, inserted, deleted = 0, 0, 0
    output: list[int] = []
    for action, symbol in _actions(heard, written):
        ahead = source[consumed : consumed + CONTEXT]
        yield Step(
            (
                *_padded_right(ahead),
                *_padded_left(source[max(0, consumed - CONTEXT) : consumed]),
                *_padded_left(output[-CONTEXT:]),
            ),
            (inserted, deleted),
            action,
            symbol if action is Action.INSERT else NOTHING,
        )
        inserted = inserted + 1 if action is Action.INSERT else 0
        deleted = deleted + 1 if action is Action.DELETE else 0
        if action is not Action.INSERT:
            consumed += 1
        if action is not Action.DELETE:
            output.append(symbol)


def _actions(heard: str, written: str) -> Iterator[tuple[Action, int]]:
    """Actions with the character that each writes, the closing end mark's included."""
    folded = ["".join(map(_folded, text)) for text in (heard, written)]
    for block in Levenshtein.opcodes(folded[0], folded[1]):
        old = heard[block.src_start : block.src_end]
        new = written[block.dest_start : block.dest_end]
        if block.tag == "equal":
            for before, after in zip(old, new, strict=True):
                yield _kept(before, after), ord(after)
            continue
        for _ in old:
            yield Action.DELETE, NOTHING
        for symbol in new:
            yield Action.INSERT, ord(symbol)
    yield Action.MATCH, END


def _kept(before: str, after: str) -> Action:
    if before == after:
        return Action.MATCH
    return Action.UPPER if after == upper_of(before) else Action.LOWER


def upper_of(character: str) -> str:
    """Upper case where it is one character; "ß" stays as it is."""
    upper = character.upper()
    return upper if len(upper) == 1 else character


def _folded(character: str) -> str:
    """Lower case where both directions are one character, so that a case action can be undone."""
    lower = character.lower()
    is_pair = len(lower) == 1 and character in (lower, upper_of(lower))
    return lower if is_pair else character


def _padded_right(symbols: list[int]) -> list[int]:
    return [*symbols, *([NOTHING] * (CONTEXT - len(symbols)))]


def _padded_left(symbols: list[int]) -> list[int]:
    return [*([NOTHING] * (CONTEXT - len(symbols))), *symbols]
