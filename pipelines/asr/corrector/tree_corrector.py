"""Applying SentenceTransmorgrifier's model to texts, all of them one step at a time together.

`execute` writes what the library's method of that name writes, which asks for one prediction per character
and text; here all texts share one. `correct` is what a job uses. Knows no training of recognisers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.asr.corrector.edits import CONTEXT, END, NOTHING, Action, Step, walk
from pipelines.asr.corrector.trees import (
    DELETE,
    INSERT,
    LOWER,
    MATCH,
    UPPER,
    Contexts,
    EditTrees,
    Params,
    learn,
)
from pipelines.text.normalize import canonical

SUFFIX = ".tm"
FILE = f"corrector{SUFFIX}"
TOGETHER = 1024
"""Texts that are stepped together."""
BUDGET_S = 60.0
"""Processor time of one training, about."""

_MARK = chr(END)
_BLANK = " "
_RUN = 5
"""The library gives up after as many equal characters."""
_LONGEST = 3
"""Nothing is written beyond so many times the text's length."""
_NUMBERS = {
    Action.MATCH: MATCH,
    Action.DELETE: DELETE,
    Action.INSERT: INSERT,
    Action.UPPER: UPPER,
    Action.LOWER: LOWER,
}


class TreeCorrector:
    """Turns heard texts into written ones with two ensembles of trees."""

    def __init__(self, trees: EditTrees) -> None:
        """Use trained ensembles."""
        self._trees = trees

    @classmethod
    def trained(
        cls, pairs: Sequence[tuple[str, str]], *, budget_s: float | None = None
    ) -> TreeCorrector | None:
        """Learn from pairs of heard and written; None where trees cannot, or need not."""
        steps = [step for heard, written in pairs for step in walk(heard, written)]
        trees = learn(
            _contexts(steps),
            [_NUMBERS[step.action] for step in steps],
            [chr(step.written) for step in steps],
            context=CONTEXT,
            budget_s=budget_s or BUDGET_S,
        )
        return cls(trees) if trees else None

    @classmethod
    def load(cls, directory: Path) -> TreeCorrector | None:
        """Read a checkpoint's, if it has one.

        Raises:
            BadCheckpoint: it is damaged.
        """
        files = sorted(directory.glob(f"*{SUFFIX}"))
        return cls(EditTrees.load(files[0])) if files else None

    def save(self, directory: Path) -> None:
        """Write it into a checkpoint."""
        self._trees.save(directory / FILE)

    def correct(self, texts: Sequence[str]) -> list[str]:
        """Correct each text; an empty one stays empty.

        Where the library would give up in the middle of a text, the rest of it stays as it was.
        """
        end = _MARK if self._trees.params.end_mark else ""
        walkers = self._walked([text + end if text else "" for text in texts])
        return [canonical((walker.written + walker.rest).replace(_MARK, "")) for walker in walkers]

    def execute(self, texts: Sequence[str]) -> list[str]:
        """What the library's `execute` makes of each text."""
        return [walker.written for walker in self._walked(texts)]

    def _walked(self, texts: Sequence[str]) -> list[_Walker]:
        walkers = [_Walker(text, self._trees.params) for text in texts]
        for start in range(0, len(walkers), TOGETHER):
            some = walkers[start : start + TOGETHER]
            while moving := [walker for walker in some if not walker.is_done]:
                contexts = np.array([walker.context for walker in moving], dtype=object)
                actions, characters = self._trees.decide(contexts)
                for walker, action, character in zip(moving, actions, characters, strict=True):
                    walker.take(action, character)
        return walkers


class _Walker:
    """One text on its way."""

    def __init__(self, text: str, params: Params) -> None:
        self._ahead, self._behind = params.trailing_context, params.leading_context
        self._source = text
        self._padded = _BLANK * self._behind + text + _BLANK * self._ahead
        self._output = _BLANK * self._behind
        self._at = 0
        self._added = self._dropped = 0
        self._is_lost = False

    @property
    def context(self) -> list[str | int]:
        middle = self._at + self._behind
        ahead = self._padded[middle : middle + self._ahead]
        consumed = self._padded[self._at : middle]
        return [*ahead, *self._output[-self._behind :], *consumed, self._added, self._dropped]

    @property
    def written(self) -> str:
        return self._output[self._behind :]

    @property
    def rest(self) -> str:
        """What it has not come to."""
        return self._source[self._at :]

    @property
    def is_done(self) -> bool:
        written = self.written
        is_run = len(written) >= _RUN and written[-_RUN:] == written[-1] * _RUN
        is_long = len(written) >= _LONGEST * len(self._source)
        return not self.rest or is_long or is_run or self._is_lost

    def take(self, action: int, character: str) -> None:
        if action == INSERT and self._added < self._ahead:
            self._output += character
            self._added, self._dropped = self._added + 1, 0
            return
        letter = self._source[self._at]
        if action == DELETE:
            self._added, self._dropped = 0, self._dropped + 1
        elif action in (MATCH, INSERT, UPPER, LOWER):
            # After as many insertions as it sees ahead, nothing new would come: on with the text.
            self._output += {UPPER: letter.upper(), LOWER: letter.lower()}.get(action, letter)
            self._added = self._dropped = 0
        else:
            self._is_lost = True
            return
        self._at += 1


def _contexts(steps: Sequence[Step]) -> Contexts:
    """In the library's order: ahead, written, consumed, counters."""
    rows = []
    for step in steps:
        letters = [_BLANK if code == NOTHING else chr(code) for code in step.context]
        ahead, consumed, written = (
            letters[start : start + CONTEXT] for start in range(0, len(letters), CONTEXT)
        )
        rows.append([*ahead, *written, *consumed, *step.counters])
    return np.array(rows, dtype=object)
