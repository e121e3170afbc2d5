"""What was heard against what was said, letter by letter, in any script.

Letters keep their combining marks, so that no mark hangs in the air. Knows no recogniser and no page.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

_JOINERS = "\u200c\u200d"


class Change(StrEnum):
    """What became of a piece of text."""

    SAME = "same"
    MISSING = "missing"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text with one fate."""

    text: str
    change: Change


def compare(said: str, heard: str) -> tuple[Piece, ...]:
    """Return both texts as one: what is in both, what was not heard, what was only heard."""
    return tuple(_pieces(letters(said), letters(heard)))


def letters(text: str) -> list[str]:
    """Split text into letters with the marks that are written onto them."""
    found: list[str] = []
    for sign in unicodedata.normalize("NFC", text):
        is_attached = unicodedata.category(sign)[0] == "M" or sign in _JOINERS
        if is_attached and found:
            found[-1] += sign
        else:
            found.append(sign)
    return found


def _pieces(said: list[str], heard: list[str]) -> Iterator[Piece]:
    for _, i, j, k, m in SequenceMatcher(None, said, heard, autojunk=False).get_opcodes():
        if said[i:j] == heard[k:m]:
            yield Piece("".join(said[i:j]), Change.SAME)
            continue
        if i < j:
            yield Piece("".join(said[i:j]), Change.MISSING)
        if k < m:
            yield Piece("".join(heard[k:m]), Change.ADDED)
