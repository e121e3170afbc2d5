"""Text of any language → the symbols a voice is trained on; the same function for training and speaking.

The default spells with the project's own characters and knows no language: most orthographies of young written
languages are close to how they sound. The front ends of the published weights are options for voices that were
trained with them. Knows no vocabulary (vocabulary.py) and no markup: what comes in is plain text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipelines.text.normalize import canonical
from pipelines.text.romanize import romanizer
from pipelines.tts.stabletts.frontends import chinese, english, japanese


class FrontEnd(StrEnum):
    """How text becomes symbols."""

    CHARACTERS = "characters"  # the project's own letters and marks
    ENGLISH = "english"
    CHINESE = "chinese"
    JAPANESE = "japanese"
    UROMAN_ENGLISH = "legacy-uroman-english"  # what older workers did to every other script


@dataclass(frozen=True, slots=True)
class TextSettings:
    """Everything that decides how a project is spelt; stored with the voice."""

    front_end: FrontEnd = FrontEnd.CHARACTERS
    keep_case: bool = False  # a few orthographies distinguish words by case
    replacements: Mapping[str, str] = field(default_factory=dict)  # applied first
    digits: Mapping[str, str] = field(
        default_factory=dict
    )  # number or digit → words of the language
    syllables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # pinyin → phones


# Quotes, dashes and their like in any script, as the eight punctuation rows of the published table.
_PUNCTUATION = {
    ",": "、，،؛;；፣፤:：፥፦·؍",
    ".": "。．।॥።۔॰៕។",
    "!": "！¡՜",
    "?": "？¿؟՞፧",
    "-": "‐‑‒–—―−﹘－",
    "~": "〜～",
    "…": "⋯︙",
    "'": '‘’‚‛“”„‟«»‹›"`´「」『』()（）[]【】〈〉《》＂＇',
}
_TO_ROWS = str.maketrans({sign: row for row, signs in _PUNCTUATION.items() for sign in signs})

# Ethiopic syllables lie in rows of eight: a consonant with its vowel orders.
_ETHIOPIC = range(0x1200, 0x1358)
ORDER_MARK = "◌"


def symbols(text: str, settings: TextSettings) -> list[str]:
    """Turn plain text into symbols, as the settings say.

    Raises:
        MissingLibrary: The front end needs a library that is not installed.
    """
    text = _replace(canonical(text), settings.replacements)
    text = _replace(text, settings.digits)
    match settings.front_end:
        case FrontEnd.ENGLISH:
            return english.symbols(text)
        case FrontEnd.CHINESE:
            return chinese.symbols(text, settings.syllables)
        case FrontEnd.JAPANESE:
            return japanese.symbols(text)
        case FrontEnd.UROMAN_ENGLISH:
            return english.symbols(romanizer()(text))
        case FrontEnd.CHARACTERS:
            return characters(text, keep_case=settings.keep_case)


def characters(text: str, *, keep_case: bool = False) -> list[str]:
    """Split text into base letters, combining marks, the eight punctuation signs and single spaces.

    Letter and mark are separate, so that á, à and â share what is known about a.
    """
    folded = text if keep_case else text.casefold()
    decomposed = unicodedata.normalize("NFD", folded).replace("...", "…").translate(_TO_ROWS)
    return [part for character in " ".join(decomposed.split()) for part in _split(character)]


def compose(parts: list[str]) -> str:
    """Put characters together again: the inverse of `characters` up to case and punctuation."""
    out: list[str] = []
    for part in parts:
        if len(part) == 2 and part[0] == ORDER_MARK and out:
            out[-1] = chr(ord(out[-1]) + int(part[1]))
        else:
            out.append(part)
    return unicodedata.normalize("NFC", "".join(out))


def is_digit(symbol: str) -> bool:
    """Tell whether a symbol is a number sign of any script, which no letter's sound can stand for."""
    return len(symbol) == 1 and unicodedata.category(symbol)[0] == "N"


def is_sign(symbol: str) -> bool:
    """Tell whether a symbol is punctuation, a currency or another sign without a sound."""
    return len(symbol) == 1 and unicodedata.category(symbol)[0] in "PSCZ"


def _split(character: str) -> Iterator[str]:
    code = ord(character)
    order = code & 7
    if code in _ETHIOPIC and order:
        yield chr(code - order)
        yield f"{ORDER_MARK}{order}"
    else:
        yield character


def _replace(text: str, table: Mapping[str, str]) -> str:
    # Longer keys first: "10" must not be read as "1" and "0".
    for old in sorted(table, key=len, reverse=True):
        text = text.replace(old, table[old])
    return text
