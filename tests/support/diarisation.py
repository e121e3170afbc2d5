"""How far turns are from the truth: the diarisation error rate and its three parts, in steps of 10 ms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from pipelines.asr.diarize.turns import Turn

STEP_S = 0.01


@dataclass(frozen=True)
class DiarisationErrors:
    """Shares of the reference's speech: not found, found where nobody speaks, given to another speaker."""

    missed: float
    invented: float
    confused: float

    @property
    def rate(self) -> float:
        """The diarisation error rate, without forgiveness at the edges of turns."""
        return self.missed + self.invented + self.confused


def diarisation_errors(found: Sequence[Turn], true: Sequence[Turn]) -> DiarisationErrors:
    """Compare turns under the naming that suits them best."""
    end_s = max(turn.end_s for turn in (*found, *true))
    ours, theirs = (_marked(turns, end_s) for turns in (found, true))
    together = ours @ theirs.T
    if len(ours) < len(theirs):
        together = together.T
    # Few enough speakers to try every naming.
    right = max(
        sum(together[row, column] for column, row in enumerate(rows))
        for rows in permutations(range(together.shape[0]), together.shape[1])
    )
    speech = theirs.sum()
    both = np.minimum(ours.sum(axis=0), theirs.sum(axis=0)).sum()
    return DiarisationErrors(
        missed=float(np.maximum(theirs.sum(axis=0) - ours.sum(axis=0), 0).sum() / speech),
        invented=float(np.maximum(ours.sum(axis=0) - theirs.sum(axis=0), 0).sum() / speech),
        confused=float((both - right) / speech),
    )


def _marked(turns: Sequence[Turn], end_s: float) -> np.ndarray:
    """Who speaks at each step: (speakers, steps) of 0 and 1."""
    names = sorted({turn.speaker for turn in turns})
    marks = np.zeros((len(names), round(end_s / STEP_S) + 1), int)
    for turn in turns:
        marks[
            names.index(turn.speaker), round(turn.start_s / STEP_S) : round(turn.end_s / STEP_S)
        ] = 1
    return marks
