"""Mishearing on purpose: texts that were never recorded, as the recogniser would have heard them.

What it confuses is counted on held-out verses and replayed letter by letter, so that a corrector
can learn from all the text of a project and not only from the few verses that were held out.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable

from rapidfuzz.distance import Levenshtein

from pipelines.asr.corrector.corrector import Pair

KEPT = None
"""Stands for "heard as it is"."""


class Mishearing:
    """What becomes of each letter: itself, nothing, another one, or itself and something more."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        """Count on pairs of heard and said, both in the recogniser's own spelling."""
        self._outcomes: dict[str, Counter[str | None]] = defaultdict(Counter)
        for heard, said in pairs:
            self._count(heard, said)

    def distort(self, text: str, dice: random.Random) -> str:
        """One way the text might be heard."""
        return "".join(self._heard(letter, dice) for letter in text)

    def _heard(self, letter: str, dice: random.Random) -> str:
        outcomes = self._outcomes.get(letter)
        if not outcomes:
            return letter
        (outcome,) = dice.choices(list(outcomes), list(outcomes.values()))
        return letter if outcome is KEPT else outcome

    def _count(self, heard: str, said: str) -> None:
        for block in Levenshtein.opcodes(said, heard):
            letters = said[block.src_start : block.src_end]
            sounds = heard[block.dest_start : block.dest_end]
            if block.tag == "equal":
                for letter in letters:
                    self._outcomes[letter][KEPT] += 1
            elif block.tag == "insert" and block.src_start:
                before = said[block.src_start - 1]
                self._outcomes[before][before + sounds] += 1
            else:
                for index, letter in enumerate(letters):
                    self._outcomes[letter][sounds[index : index + 1]] += 1
