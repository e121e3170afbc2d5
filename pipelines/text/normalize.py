"""Text in one form, so that equal words are equal strings, in any script.

Knows no cells and no HTML: what comes in is plain text already. Nothing here is about English: letters,
marks and digits are what Unicode says they are, and a script without upper case has none to fold.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

WORD_JOINERS = frozenset("'’‘-\u00b7\u05f3\u05f4\u200c\u200d\u2010\u2011")
"""Signs that belong to a word when they stand between two of its letters (U+200C/D shape letters)."""

_NOT_SPOKEN = frozenset("\"'*/\\&@#%‰†‡§¶•·‧※⁂＂＇＊／＼＆＠＃％")

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))


def canonical(text: str) -> str:
    """NFC, without invisible marks, white space collapsed; case and punctuation stay."""
    return " ".join(unicodedata.normalize("NFC", text).translate(_INVISIBLE).split())


def spoken_form(text: str, kept: Collection[str] = ()) -> str:
    """What a recogniser learns: canonical, lower case, words and single spaces, no punctuation.

    Signs in `kept` stay where they directly follow a word, or another sign that does.
    """
    folded = canonical(canonical(text).lower())
    characters: list[str] = []
    for index, character in enumerate(folded):
        follows = bool(characters) and characters[-1] != " "
        stays = _is_in_word(folded, index) or (character in kept and follows)
        characters.append(character if stays else " ")
    return " ".join("".join(characters).split())


def is_sentence_sign(character: str) -> bool:
    """Whether it structures speech, in any script: commas, full stops, dandas; no quotes, no brackets."""
    return unicodedata.category(character) == "Po" and character not in _NOT_SPOKEN


def _is_in_word(text: str, index: int) -> bool:
    character = text[index]
    if _is_word_character(character):
        return True
    return (
        character in WORD_JOINERS
        and 0 < index < len(text) - 1
        and _is_word_character(text[index - 1])
        and _is_word_character(text[index + 1])
    )


def _is_word_character(character: str) -> bool:
    """Letters, combining marks and decimal digits."""
    category = unicodedata.category(character)
    return category[0] in "LM" or category == "Nd"
