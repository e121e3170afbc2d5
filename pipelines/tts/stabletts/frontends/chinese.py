"""Chinese: characters → pinyin with tones → the phones of a syllable table.

Needs `pypinyin` and `jieba`. The original's syllable table carries no licence and is not part of this project:
whoever has a voice that was trained with it hands it in (`read_table`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pipelines.tts.errors import MissingLibrary

_MARKS = str.maketrans(
    "，。！？；：、·“”‘’（）《》【】「」『』〈〉—～", ",.!?,,,,''''''''''''''''-~"
)
_DIGITS = "零一二三四五六七八九"
_UNITS = ("", "十", "百", "千")
_GROUPS = ("", "万", "亿", "兆")

Syllables = Mapping[str, tuple[str, ...]]
"""Pinyin without tone → phones, each of which gets the syllable's tone."""


def symbols(text: str, syllables: Syllables) -> list[str]:
    """Turn Chinese text into symbols of the published table.

    Raises:
        MissingLibrary: A library is not installed.
        ValueError: No syllable table was given.
    """
    if not syllables:
        raise ValueError("the Chinese front end needs a table of syllables and their phones")
    plain = re.sub(r"\d+(?:\.\d+)?", lambda found: spell_number(found[0]), text.replace(" ", ""))
    out: list[str] = []
    for syllable in _pinyin(plain.translate(_MARKS)):
        name, tone = syllable[:-1], syllable[-1:]
        if tone in "12345" and name in syllables:
            out += [phone + tone for phone in syllables[name]]
        elif not syllable[-1:].isalpha():
            out += syllable
    return out


def read_table(path: Path) -> dict[str, tuple[str, ...]]:
    """Read lines of a syllable and its phones, separated by white space."""
    rows = (line.split() for line in path.read_text("utf-8").splitlines())
    return {row[0]: tuple(row[1:]) for row in rows if len(row) > 1}


def spell_number(number: str) -> str:
    """Write a decimal number in Chinese words."""
    whole, _, fraction = number.partition(".")
    words = _whole(whole.lstrip("0") or "0")
    return f"{words}点{''.join(_DIGITS[int(digit)] for digit in fraction)}" if fraction else words


def _whole(digits: str) -> str:
    if len(digits) > 4 * len(_GROUPS):
        return "".join(_DIGITS[int(digit)] for digit in digits)
    groups = [digits[max(0, end - 4) : end] for end in range(len(digits), 0, -4)]
    words = ""
    for unit, group in reversed(list(zip(_GROUPS, groups, strict=False))):
        if int(group):
            gap = _DIGITS[0] if words and group.startswith("0") and not words.endswith("零") else ""
            words += gap + _group(group) + unit
        elif words and not words.endswith("零"):
            words += "零"
    words = words.rstrip("零") or "零"
    return words.removeprefix("一") if words.startswith("一十") else words


def _group(digits: str) -> str:
    """Write up to four digits; a gap between two of them is read as one zero."""
    words = ""
    for place, digit in zip(range(len(digits) - 1, -1, -1), digits, strict=True):
        if digit != "0":
            words += _DIGITS[int(digit)] + _UNITS[place]
        elif words and not words.endswith("零"):
            words += "零"
    return words.rstrip("零")


def _pinyin(text: str) -> list[str]:
    try:
        import jieba
        from pypinyin import Style, lazy_pinyin
    except ModuleNotFoundError as error:
        raise MissingLibrary(str(error.name), "the Chinese front end") from error
    words = list(jieba.cut(text, HMM=False))
    return list(lazy_pinyin(words, style=Style.TONE3, neutral_tone_with_five=True))
