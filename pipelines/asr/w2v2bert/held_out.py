"""What came of the verses that a training kept back: the numbers behind its report. Knows no report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rapidfuzz.distance import Levenshtein

from pipelines.asr.w2v2bert.trust import Judged
from pipelines.text.metrics import ErrorRates, error_rates

Item = TypeVar("Item")

Confusion = tuple[str, str]
"""Letters that were said, and what was heard instead; either may be empty."""

SMALLEST_GROUP = 5
MOST_GROUPS = 8


@dataclass(frozen=True, slots=True)
class HeldOutVerse:
    """One verse: both texts in the recogniser's own spelling."""

    id: str
    book: str
    said: str
    heard: str
    confidence: float

    @property
    def cer(self) -> float:
        """Character error rate of this verse."""
        return error_rates([self.said], [self.heard]).cer


def by_book(verses: Sequence[HeldOutVerse]) -> Iterator[tuple[str, int, ErrorRates]]:
    """Each book with its number of verses and their rates, the largest first; then all together."""
    books: dict[str, list[HeldOutVerse]] = defaultdict(list)
    for verse in verses:
        books[verse.book].append(verse)
    for book, members in sorted(books.items(), key=lambda item: (-len(item[1]), item[0])):
        yield book, len(members), _rates(members)
    if len(books) > 1:
        yield "all", len(verses), _rates(verses)


def confusions(verses: Sequence[HeldOutVerse]) -> list[tuple[Confusion, int]]:
    """Which letters are taken for which, the most frequent first."""
    counts: Counter[Confusion] = Counter()
    for verse in verses:
        for block in Levenshtein.opcodes(verse.said, verse.heard):
            if block.tag != "equal":
                said = verse.said[block.src_start : block.src_end]
                counts[said, verse.heard[block.dest_start : block.dest_end]] += 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def reliability(verses: Sequence[HeldOutVerse]) -> Iterator[tuple[float, float]]:
    """Mean confidence and share of right letters of groups of verses that are equally sure."""
    for group in _alike(sorted(verses, key=lambda verse: verse.confidence)):
        confidence = sum(verse.confidence for verse in group) / len(group)
        yield confidence, max(0.0, 1.0 - _rates(group).cer)


def word_reliability(words: Sequence[Judged]) -> Iterator[tuple[float, float]]:
    """Mean confidence and share of right ones of groups of words that are equally sure."""
    for group in _alike(sorted(words, key=lambda word: word[0])):
        confidences, right = zip(*group, strict=True)
        yield sum(confidences) / len(group), sum(right) / len(group)


def _alike(ordered: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Neighbours in groups of equal size; too few left over are none."""
    size = max(SMALLEST_GROUP, -(-len(ordered) // MOST_GROUPS))
    for start in range(0, len(ordered), size):
        group = ordered[start : start + size]
        if len(group) >= SMALLEST_GROUP:
            yield group


def _rates(verses: Sequence[HeldOutVerse]) -> ErrorRates:
    return error_rates([verse.said for verse in verses], [verse.heard for verse in verses])
