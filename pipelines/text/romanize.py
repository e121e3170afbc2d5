"""Any script in Latin letters, through uroman (Ulf Hermjakob, USC/ISI).

A fallback for rare characters and for voices of older workers; it loses tone and length, so it is never the
default way to spell a language. Knows no vocabularies.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

Romanize = Callable[[str], str]
"""Turns a text of any script into Latin letters."""


def romanizer(language: str | None = None) -> Romanize:
    """Return a function that romanises; loading its tables takes about two seconds, once.

    Args:
        language: ISO 639-3 code that refines a few scripts, None for the general rules.
    """
    engine = _engine()

    def romanize(text: str) -> str:
        return str(engine.romanize_string(text, lcode=language))

    return romanize


def is_mostly_latin(texts: Iterable[str]) -> bool:
    """Tell whether at least half of all letters are Latin; true of no letters at all.

    Decide on a whole project at once: verses with a foreign name must not be spelt differently.
    """
    latin = letters = 0
    for text in texts:
        for character in text:
            if character.isalpha():
                letters += 1
                latin += unicodedata.name(character, "").startswith("LATIN")
    return 2 * latin >= letters


@cache
def _engine() -> Any:
    # Imported here: most projects never need the tables, which take seconds to load.
    from uroman import Uroman

    return Uroman()
