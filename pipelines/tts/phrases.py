"""Long texts cut where a reader would breathe, and spoken pieces joined again.

Goes by punctuation of any script, then by spaces, then by length. Knows no voice.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pipelines.audio.decode import Samples
from pipelines.audio.silence import trim

FADE_S = 0.01
"""At the ends of a piece, so that a cut does not click."""

# Signs after which a sentence, then a clause, ends; Western, Arabic, Devanagari, Ethiopic, CJK, Khmer.
_SENTENCE = ".!?…。．！？॥।۔؟።៕။"
_CLAUSE = ",;:،؛、，；：፣፤፥፦—–"
_CLOSING = "'\"»”’)\\]」』〉》"
_LEVELS = tuple(
    re.compile(rf"(?<=[{signs}])[{_CLOSING}]*\s*" if signs else r"\s+")
    for signs in (_SENTENCE, _CLAUSE, "")
)


def split(text: str, most: int, size: Callable[[str], int]) -> list[str]:
    """Cut a text into pieces of at most `most`, as measured by `size`, as evenly as signs allow."""
    return list(_split(text.strip(), most, size, level=0))


def join(pieces: Sequence[Samples], sample_rate_hz: int) -> Samples:
    """Put spoken pieces behind each other, silence between them as short as in one breath."""
    trimmed = [trim(piece, sample_rate_hz) for piece in pieces]
    audible = [_faded(piece, sample_rate_hz) for piece in trimmed if len(piece)]
    return np.concatenate(audible) if audible else np.zeros(0, np.float32)


def _split(text: str, most: int, size: Callable[[str], int], level: int) -> Iterator[str]:
    if size(text) <= most or len(text) < 2:
        yield text
        return
    if level == len(_LEVELS):
        middle = _between_letters(text)
        yield from _split(text[:middle], most, size, level)
        yield from _split(text[middle:], most, size, level)
        return
    parts = [part for part in _parts(text, _LEVELS[level]) if part]
    if len(parts) < 2:
        yield from _split(text, most, size, level + 1)
        return
    for group in _grouped(parts, most, size):
        yield from _split(group.strip(), most, size, level + 1)


def _parts(text: str, boundary: re.Pattern[str]) -> Iterator[str]:
    """Cut after each boundary; nothing of the text is lost."""
    start = 0
    for match in boundary.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    yield text[start:]


def _grouped(parts: Sequence[str], most: int, size: Callable[[str], int]) -> list[str]:
    """Join neighbours while they fit and while that brings them nearer to pieces of like length."""
    sizes = [size(part) for part in parts]
    even = sum(sizes) / -(-sum(sizes) // most)
    groups: list[str] = []
    length = 0
    for part, more in zip(parts, sizes, strict=True):
        is_nearer = abs(length + more - even) <= abs(length - even)
        if groups and length + more <= most and is_nearer:
            groups[-1] += part
            length += more
        else:
            groups.append(part)
            length = more
    return groups


def _between_letters(text: str) -> int:
    """Middle of a text without spaces, never between a letter and its marks."""
    middle = len(text) // 2
    while middle < len(text) - 1 and unicodedata.combining(text[middle]):
        middle += 1
    return middle


def _faded(piece: Samples, sample_rate_hz: int) -> Samples:
    length = min(round(FADE_S * sample_rate_hz), len(piece) // 2)
    ramp = np.linspace(0.0, 1.0, length, dtype=np.float32)
    out = piece.copy()
    out[:length] *= ramp
    out[len(out) - length :] *= ramp[::-1]
    return out
