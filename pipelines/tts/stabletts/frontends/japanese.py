"""Japanese: Open JTalk's phones and pitch accents → IPA-like symbols.

Needs `pyopenjtalk-plus`, which brings its dictionary; another dictionary may put accents elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from pipelines.tts.errors import MissingLibrary

Analyse = Callable[[str], list[str]]
"""Returns the full-context labels of a Japanese sentence."""

_JAPANESE = re.compile(
    r"[\u3005\u3040-\u30ff\u4e00-\u9fff\uff11-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9d0-9A-Za-z]+"
)
_LABEL = re.compile(r"-(?P<phone>[^+]*)\+.*/A:(?P<a1>-?\d+|xx)\+(?P<a2>\d+|xx)\+(?P<a3>\d+|xx)/")
_PAUSES = frozenset({"sil", "pau"})
_MARKS = str.maketrans("、。！？・「」", ",.!?,''")
# In this order. The arrows of the pitch accent may stand between the two sounds of a rule.
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"Q([↑↓]*[kg])", r"k#\1"),
        (r"Q([↑↓]*[tdjʧ])", r"t#\1"),
        (r"Q([↑↓]*[sʃ])", r"s\1"),
        (r"Q([↑↓]*[pb])", r"p#\1"),
        (r"N([↑↓]*[pbm])", r"m\1"),
        (r"N([↑↓]*[ʧʥj])", r"n^\1"),
        (r"N([↑↓]*[tdn])", r"n\1"),
        (r"N([↑↓]*[kg])", r"ŋ\1"),
        ("u", "ɯ"),
        ("ʧ", "tʃ"),
        ("j", "dʑ"),
        ("y", "j"),
        ("ni", "n^i"),
        ("nj", "n^"),
        ("hi", "çi"),
        ("hj", "ç"),
        ("f", "ɸ"),
        ("I", "i*"),
        ("U", "ɯ*"),
        ("r", "ɾ"),
        (r"\.\.\.", "…"),
    )
)


def symbols(text: str, analyse: Analyse | None = None) -> list[str]:
    """Turn Japanese text into symbols of the published table; `analyse` is Open JTalk by default."""
    romaji = "".join(_parts(text, analyse or _open_jtalk))
    for pattern, replacement in _RULES:
        romaji = pattern.sub(replacement, romaji)
    return list(romaji)


def _parts(text: str, analyse: Analyse) -> Iterator[str]:
    """Yield romaji for Japanese stretches and the marks between them."""
    end = 0
    for found in _JAPANESE.finditer(text):
        yield text[end : found.start()].translate(_MARKS).replace(" ", "")
        yield _romaji(analyse(found[0]))
        end = found.end()
    yield text[end:].translate(_MARKS).replace(" ", "")


def _romaji(labels: list[str]) -> str:
    """Read phones from full-context labels, with ↑ ↓ where the pitch moves, spaces between phrases."""
    matches = [found for label in labels if (found := _LABEL.search(label))]
    out: list[str] = []
    for current, following in pairwise([*matches, None]):
        if current is None or current["phone"] in _PAUSES:
            continue
        phone = current["phone"].replace("ch", "ʧ").replace("sh", "ʃ").replace("cl", "Q")
        out.append(phone + _accent(current, following))
    return "".join(out)


def _accent(current: re.Match[str], following: re.Match[str] | None) -> str:
    """A1: morae from the accent's fall; A2, A3: position in the phrase from its start and its end."""
    last = following is None or following["phone"] in _PAUSES
    position = int(current["a2"])
    next_position = -1 if last or following is None else int(following["a2"])
    if current["a3"] == "1" and next_position == 1:
        return " "
    if current["a1"] == "0" and next_position == position + 1:
        return "↓"
    if position == 1 and next_position == 2:
        return "↑"
    return ""


def _open_jtalk(text: str) -> list[str]:
    try:
        import pyopenjtalk
    except ModuleNotFoundError as error:
        raise MissingLibrary("pyopenjtalk-plus", "the Japanese front end") from error
    return list(pyopenjtalk.extract_fullcontext(text))
