"""Applying a learned edit model to texts, all of them one step at a time together.

Stepping together costs one run of the network per step instead of one per character and text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.asr.corrector.edits import CONTEXT, NOTHING, Action, codes_of, upper_of, walk
from pipelines.asr.corrector.network import EditNetwork, learn
from pipelines.text.normalize import canonical

TOGETHER = 256
"""Texts that are stepped together."""

Pair = tuple[str, str]
"""A text as it was heard, and as it is written."""


class Corrector:
    """Turns heard texts into written ones."""

    def __init__(self, network: EditNetwork) -> None:
        """Use a trained network."""
        self._network = network

    @classmethod
    def trained(cls, pairs: Sequence[Pair], *, seed: int = 0) -> Corrector:
        """Learn from pairs; at least one must not be empty."""
        steps = [step for heard, written in pairs for step in walk(heard, written)]
        return cls(learn(steps, seed=seed))

    @classmethod
    def load(cls, directory: Path) -> Corrector | None:
        """Read a checkpoint's corrector, if it has one.

        Raises:
            BadCheckpoint: it is damaged.
        """
        network = EditNetwork.load(directory)
        return cls(network) if network else None

    def save(self, directory: Path) -> None:
        """Write it into a checkpoint."""
        self._network.save(directory)

    def correct(self, texts: Sequence[str]) -> list[str]:
        """Correct each text; an empty one stays empty."""
        results: list[str] = []
        for start in range(0, len(texts), TOGETHER):
            walkers = [_Walker(text) for text in texts[start : start + TOGETHER]]
            while moving := [walker for walker in walkers if not walker.is_done]:
                contexts = np.array([walker.context for walker in moving])
                counters = np.array([walker.counters for walker in moving])
                actions, symbols = self._network.decide(contexts, counters)
                for walker, action, symbol in zip(
                    moving, actions.tolist(), symbols.tolist(), strict=True
                ):
                    walker.take(Action(action), symbol)
            results.extend(walker.text for walker in walkers)
        return results


class _Walker:
    """One text on its way; context and counters are what `edits.walk` shows in training."""

    def __init__(self, text: str) -> None:
        margin = [NOTHING] * CONTEXT
        self._source = [*margin, *codes_of(text), *margin]
        self._output = list(margin)
        self._at = CONTEXT
        self._end = CONTEXT + len(text)
        self._inserted = 0
        self._deleted = 0
        self._longest = 2 * len(text) + 2 * CONTEXT
        self.is_done = not text

    @property
    def context(self) -> list[int]:
        at = self._at
        source = self._source
        return [*source[at : at + CONTEXT], *source[at - CONTEXT : at], *self._output[-CONTEXT:]]

    @property
    def counters(self) -> tuple[int, int]:
        return self._inserted, self._deleted

    @property
    def text(self) -> str:
        return canonical("".join(map(chr, self._output[CONTEXT:])))

    def take(self, action: Action, symbol: int) -> None:
        if action is Action.INSERT and self._may_insert:
            self._output.append(symbol)
            self._inserted, self._deleted = self._inserted + 1, 0
            return
        if self._at == self._end:
            self.is_done = True
            return
        if action is Action.DELETE:
            self._inserted, self._deleted = 0, self._deleted + 1
        else:
            self._output.append(_written(self._source[self._at], action))
            self._inserted = self._deleted = 0
        self._at += 1

    @property
    def _may_insert(self) -> bool:
        """After as many insertions as the context is long, nothing new would be seen."""
        return self._inserted < CONTEXT and len(self._output) < self._longest


def _written(code: int, action: Action) -> int:
    if action is Action.UPPER:
        return ord(upper_of(chr(code)))
    if action is Action.LOWER:
        lower = chr(code).lower()
        return ord(lower) if len(lower) == 1 else code
    return code
