"""Replaces words in a text in one pass, in any script, and tells each change.

All words stand in one alternation, longest first: what one rule wrote is never read by another. A border of a
word is where letters, marks and digits end; in scripts that write no spaces a word may stand anywhere. Knows no times.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import regex

_IN_WORD = r"[\p{L}\p{M}\p{N}]"
_WITHOUT_SPACES = regex.compile(
    r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}"
    r"\p{Script=Khmer}\p{Script=Myanmar}\p{Script=Tibetan}]"
)


@dataclass(frozen=True, slots=True)
class Replaced:
    """One change; `start` and `end` are positions in the text before it."""

    start: int
    end: int
    before: str
    after: str


class Replacer:
    """A replacement map, compiled once."""

    def __init__(self, rules: Mapping[str, str]) -> None:
        """Compile; words are found whatever their case."""
        self._rules = {
            _nfc(wrong).casefold(): _nfc(right)
            for wrong, right in rules.items()
            if wrong.strip() and _nfc(wrong) != _nfc(right)
        }
        longest_first = sorted(self._rules, key=len, reverse=True)
        self._pattern = regex.compile(
            "|".join(map(_bordered, longest_first)) or r"(?!)", regex.IGNORECASE
        )

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(self._rules)

    def replace(self, text: str) -> tuple[str, list[Replaced]]:
        """Return the new text, in NFC, and what was changed in it."""
        text = _nfc(text)
        changes: list[Replaced] = []
        pieces: list[str] = []
        position = 0
        for match in self._pattern.finditer(text):
            before = match.group()
            after = _in_case_of(before, self._rules.get(before.casefold(), before))
            if after != before:
                changes.append(Replaced(match.start(), match.end(), before, after))
            pieces += [text[position : match.start()], after]
            position = match.end()
        return "".join([*pieces, text[position:]]), changes


def _bordered(word: str) -> str:
    """A pattern for a whole word; its outer signs decide whether a border is asked for."""
    before = f"(?<!{_IN_WORD})" if _needs_border(word[0]) else ""
    after = f"(?!{_IN_WORD})" if _needs_border(word[-1]) else ""
    return f"{before}{regex.escape(word)}{after}"


def _needs_border(sign: str) -> bool:
    is_in_word = unicodedata.category(sign)[0] in "LMN"
    return is_in_word and not _WITHOUT_SPACES.match(sign)


def _in_case_of(before: str, after: str) -> str:
    """Capitals where they were; small letters leave the rule's own spelling, which may have capitals."""
    letters = [sign for sign in before if sign.isalpha()]
    if len(letters) > 1 and all(sign.isupper() for sign in letters):
        return after.upper()
    if letters and letters[0].isupper():
        return after[:1].upper() + after[1:]
    return after


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
