"""Which clips are kept from training, so that there is something honest to measure on.

Whole groups (chapters, speakers) where there are several: neighbours share speaker, day and words.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence


def hold_out(
    groups: Sequence[str], fraction: float, min_clips: int, seed: int
) -> tuple[list[int], list[int]]:
    """Split clips, given the group of each, into indices for training and for validation.

    With one group its end is held out. Fewer than `min_clips` would be noise: then none is.
    """
    everything = list(range(len(groups)))
    wanted = round(len(groups) * fraction)
    if wanted < min_clips:
        return everything, []
    sizes = Counter(groups)
    if len(sizes) == 1:
        return everything[:-wanted], everything[-wanted:]
    held = _choose(sizes, wanted, len(groups) // 3, seed)
    validation = [index for index in everything if groups[index] in held]
    if len(validation) < min_clips:
        return everything, []
    return [index for index in everything if groups[index] not in held], validation


def _choose(sizes: Counter[str], wanted: int, most: int, seed: int) -> set[str]:
    names = sorted(sizes)
    random.Random(seed).shuffle(names)
    held: set[str] = set()
    count = 0
    for name in names:
        if count < wanted and count + sizes[name] <= max(2 * wanted, most):
            held.add(name)
            count += sizes[name]
    return held
