"""Which clips are kept from training, so that there is something honest to measure on.

Whole groups (chapters, speakers) where there are several: neighbours share speaker, day and words.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence


def hold_out(
    groups: Sequence[str],
    fraction: float,
    min_clips: int,
    seed: int,
    *,
    books: Sequence[str] | None = None,
) -> tuple[list[int], list[int]]:
    """Split clips, given the group of each, into indices for training and for validation.

    With the `books` of the clips, every book gives about the same share of its clips. With one group its end is held out. Fewer than `min_clips` would be noise: then none is.
    """
    everything = list(range(len(groups)))
    wanted = round(len(groups) * fraction)
    if wanted < min_clips:
        return everything, []
    sizes = Counter(groups)
    if len(sizes) == 1:
        return everything[:-wanted], everything[-wanted:]
    book_of = dict(zip(groups, books, strict=True)) if books else {}
    held = _choose(sizes, wanted, len(groups) // 3, seed, book_of)
    validation = [index for index in everything if groups[index] in held]
    if len(validation) < min_clips:
        return everything, []
    return [index for index in everything if groups[index] not in held], validation


def _choose(
    sizes: Counter[str], wanted: int, most: int, seed: int, book_of: Mapping[str, str]
) -> set[str]:
    """Take groups in random order, the next one from the book that has given the least so far."""
    left = sorted(sizes)
    random.Random(seed).shuffle(left)
    in_book: Counter[str] = Counter()
    for name in left:
        in_book[book_of.get(name, "")] += sizes[name]
    given: Counter[str] = Counter()
    held: set[str] = set()
    while left and given.total() < wanted:
        name = min(
            left, key=lambda name: given[book_of.get(name, "")] / in_book[book_of.get(name, "")]
        )
        left.remove(name)
        if given.total() + sizes[name] <= max(2 * wanted, most):
            held.add(name)
            given[book_of.get(name, "")] += sizes[name]
    return held
