"""Which symbols a voice knows, built from the project's own text and stored with the weights.

Every character of the text is either known, spelt by a fallback, or reported with its verse; none vanishes.
Knows no tensors (warm_start.py puts rows into an embedding).
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipelines.text.romanize import Romanize
from pipelines.tts.stabletts.symbols import PAD, PUNCTUATION, SPACE, SYMBOLS, intersperse
from pipelines.tts.stabletts.text import (
    ORDER_MARK,
    FrontEnd,
    TextSettings,
    characters,
    is_digit,
    is_sign,
    symbols,
)

UNKNOWN = "\ufffd"
RARE = 5  # a character seen less often than this cannot be learnt …
ENOUGH = 5_000  # … unless the whole text has fewer characters than this


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text as rows of the embedding, and what had to be left out."""

    ids: list[int]  # with blanks between, before and after
    unknown: tuple[str, ...] = ()  # characters without row or fallback
    digits: tuple[str, ...] = ()  # numbers nobody said how to read

    @property
    def is_speakable(self) -> bool:
        """Whether anything is left to say."""
        return len(self.ids) > 1


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Symbols in the order of their rows, with the settings that produce them."""

    tokens: tuple[str, ...]
    settings: TextSettings = field(default_factory=TextSettings)
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)  # in the text it was built from

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.tokens)

    def encode(self, text: str) -> Encoded:
        """Turn plain text into rows."""
        rows = {token: row for row, token in enumerate(self.tokens)}
        ids: list[int] = []
        unknown: list[str] = []
        digits: list[str] = []
        for symbol in symbols(text, self.settings):
            if symbol in rows and symbol not in (PAD, UNKNOWN):
                ids.append(rows[symbol])
            elif symbol in self.fallbacks:
                ids += [rows[part] for part in self.fallbacks[symbol]]
            elif is_digit(symbol):
                digits.append(symbol)
            elif not is_sign(symbol):
                unknown.append(symbol)
                ids += [rows[UNKNOWN]] if UNKNOWN in rows else []
        return Encoded(intersperse(ids), tuple(unknown), tuple(digits))

    def extended(self, texts: Iterable[str], romanize: Romanize | None = None) -> Vocabulary:
        """Add what other texts need behind the rows that are there."""
        new = build(texts, self.settings, romanize)
        added = tuple(token for token in new.tokens if token not in self.tokens)
        tokens = (*self.tokens, *added)
        fallbacks = {**self.fallbacks, **new.fallbacks}
        return Vocabulary(
            tokens,
            self.settings,
            {symbol: parts for symbol, parts in fallbacks.items() if symbol not in tokens},
            dict(Counter(self.counts) + Counter(new.counts)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a checkpoint's JSON."""
        return {
            "tokens": list(self.tokens),
            "settings": asdict(self.settings),
            "fallbacks": {symbol: list(parts) for symbol, parts in self.fallbacks.items()},
            "counts": dict(self.counts),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Vocabulary:
        """Restore what `to_json` returned.

        Raises:
            ValueError: The values are not those of a vocabulary.
        """
        try:
            stored = dict(data["settings"])
            stored["front_end"] = FrontEnd(stored["front_end"])
            stored["syllables"] = {k: tuple(v) for k, v in stored.get("syllables", {}).items()}
            return cls(
                tuple(map(str, data["tokens"])),
                TextSettings(**stored),
                {symbol: tuple(parts) for symbol, parts in data["fallbacks"].items()},
                {symbol: int(count) for symbol, count in data["counts"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a vocabulary: {error}") from error


def build(
    texts: Iterable[str], settings: TextSettings | None = None, romanize: Romanize | None = None
) -> Vocabulary:
    """Collect the characters of a project.

    Args:
        texts: Everything the voice will learn from.
        settings: How the language is spelt; the front ends of the published weights bring their
            own symbols instead.
        romanize: Spells rare characters; without it they become the unknown row.
    """
    settings = settings or TextSettings()
    if settings.front_end is not FrontEnd.CHARACTERS:
        return Vocabulary(SYMBOLS, settings)
    counts = Counter(symbol for text in texts for symbol in symbols(text, settings))
    fixed = (PAD, *PUNCTUATION, SPACE, UNKNOWN)
    letters = sorted(
        symbol
        for symbol in counts
        if symbol not in fixed and not is_digit(symbol) and not is_sign(symbol)
    )
    threshold = RARE if counts.total() >= ENOUGH else 1
    common = [letter for letter in letters if counts[letter] >= threshold]
    known = frozenset(common)
    fallbacks = {
        letter: spelling
        for letter in letters
        if letter not in known and (spelling := _spelling(letter, known, romanize))
    }
    return Vocabulary((*fixed, *common), settings, fallbacks, dict(sorted(counts.items())))


def _spelling(letter: str, known: frozenset[str], romanize: Romanize | None) -> tuple[str, ...]:
    """Spell a rare letter with known ones; empty if that loses any part of it."""
    if romanize is None:
        return ()
    parts = characters(romanize(letter))
    return tuple(parts) if all(part in known for part in parts) else ()


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a voice can say of a set of verses, known before any machine starts."""

    verses: int
    symbols: int
    unknown: Mapping[str, int]  # character → occurrences
    digits: Mapping[str, int]
    unknown_in: tuple[str, ...]  # verses
    digits_in: tuple[str, ...]
    unspeakable: tuple[str, ...]  # verses with nothing to say

    @property
    def share(self) -> float:
        """Known symbols as a share of all, 0…1."""
        lost = sum(self.unknown.values()) + sum(self.digits.values())
        return 1.0 - lost / self.symbols if self.symbols else 1.0

    def warnings(self) -> list[str]:
        """Say in sentences what will be missing."""
        found = (
            ("characters that the voice does not know", self.unknown, self.unknown_in),
            ("numbers that nobody said how to read", self.digits, self.digits_in),
        )
        lines = [
            f"{_verses(verses)} {what}: {' '.join(map(visible, sorted(signs)))} ({_some(verses)})"
            for what, signs, verses in found
            if signs
        ]
        if self.unspeakable:
            verses = self.unspeakable
            lines.append(f"{_verses(verses)} nothing to say ({_some(verses)})")
        return lines


def cover(vocabulary: Vocabulary, texts: Mapping[str, str]) -> Coverage:
    """Check every text (verse → text) against a vocabulary."""
    encoded = {verse: vocabulary.encode(text) for verse, text in texts.items()}
    unknown = Counter(sign for one in encoded.values() for sign in one.unknown)
    digits = Counter(sign for one in encoded.values() for sign in one.digits)
    said = sum(len(one.ids) // 2 for one in encoded.values())
    return Coverage(
        verses=len(encoded),
        symbols=said + digits.total(),
        unknown=dict(unknown),
        digits=dict(digits),
        unknown_in=tuple(verse for verse, one in encoded.items() if one.unknown),
        digits_in=tuple(verse for verse, one in encoded.items() if one.digits),
        unspeakable=tuple(verse for verse, one in encoded.items() if not one.is_speakable),
    )


def visible(sign: str) -> str:
    """Show a symbol on its own: a mark is written onto a dotted circle."""
    return f"{ORDER_MARK}{sign}" if unicodedata.category(sign[0])[0] == "M" else sign


def _verses(verses: tuple[str, ...]) -> str:
    return "1 verse has" if len(verses) == 1 else f"{len(verses)} verses have"


def _some(verses: tuple[str, ...], most: int = 3) -> str:
    shown = ", ".join(verses[:most])
    return shown if len(verses) <= most else f"{shown}, …"
