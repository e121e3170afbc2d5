"""A transcript as numbered lines, in passages that fit a question.

Knows characters, no model: a passage is measured in characters because tokens differ by model and
script. Every line remembers where it stands in the text, so that a correction can be put back exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LONGEST_LINE = 400
"""Characters; a longer line is cut at sentence ends, so that a correction names a small place."""

_SENTENCE_END = re.compile(r"(?<=[.!?…。！？।॥؟۔።])[\"'”’»)]*\s+")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Line:
    """`text` stands at `start` (characters from the beginning); `number` counts from 1."""

    number: int
    start: int
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """Consecutive lines, with the few before them for understanding."""

    lines: tuple[Line, ...]
    before: tuple[Line, ...]

    @property
    def text(self) -> str:
        """The lines as a model reads them."""
        return "\n".join(f"{line.number}: {line.text}" for line in self.lines)


def number_lines(text: str) -> tuple[Line, ...]:
    """Cut a text into its lines, long ones into sentences; empty ones have no number."""
    spans = [
        (start, end)
        for row in re.finditer(r"[^\n]+", text)
        for start, end in _pieces(text, row.start(), row.end())
    ]
    return tuple(
        Line(number, start, text[start:end]) for number, (start, end) in enumerate(spans, start=1)
    )


def split_passages(lines: Sequence[Line], *, characters: int, context: int = 2) -> list[Passage]:
    """Group lines into passages of at most `characters`; a longer line is a passage of its own."""
    passages: list[Passage] = []
    first = size = 0
    for index, line in enumerate(lines):
        if index > first and size + len(line.text) > characters:
            passages.append(_passage(lines, first, index, context))
            first, size = index, 0
        size += len(line.text)
    if first < len(lines):
        passages.append(_passage(lines, first, len(lines), context))
    return passages


def _passage(lines: Sequence[Line], first: int, end: int, context: int) -> Passage:
    return Passage(tuple(lines[first:end]), tuple(lines[max(0, first - context) : first]))


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut one row where sentences end, and where there is none, at a space before the limit."""
    while end - start > LONGEST_LINE:
        window = text[start : start + LONGEST_LINE]
        cuts = list(_SENTENCE_END.finditer(window)) or list(_SPACE.finditer(window))
        cut = start + (cuts[-1].end() if cuts else LONGEST_LINE)
        yield from _trimmed(text, start, cut)
        start = cut
    yield from _trimmed(text, start, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    if piece.strip():
        yield start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
