"""What speaks for a reading, word by word and as a whole.

    emissions, alignment ─► sound, clarity ─┐
    language model ───────► language ───────┼─► `Evidence` of a span of symbols
    other hypotheses ─────► agreement ──────┤
    list of words ────────► known ──────────┘

Raw numbers: what they are worth is for `confidence` to say. Axis letters: u output frames, c symbols,
l symbols of the reading.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from pipelines.asr.alignment import Spot
from pipelines.asr.w2v2bert.beam import Hypothesis
from pipelines.asr.w2v2bert.confidence import Evidence, logit
from pipelines.asr.w2v2bert.language_model import Scores

FLATTENED = 0.3
"""Power of the search's probabilities: as they are, the best hypothesis outweighs all others."""


@dataclass(frozen=True, slots=True)
class Clues:
    """Of one reading, symbol by symbol; the last of `language` and `doubts` is its end.

    `language` (l + 1) log-probabilities in the language model, `doubts` (l + 1) edits expected there, `entropy`
    (u) of each frame.
    """

    spots: Sequence[Spot]
    language: Sequence[float]
    doubts: NDArray[np.float64]
    entropy: Scores

    def of(self, begin: int, end: int, known_share: float) -> Evidence:
        """The evidence for symbols `begin` to `end`, at least one, of which a share of words is known.

        What follows them, a space or the end, says whether the last word is a whole one.
        """
        spots = self.spots[begin:end]
        frames = self.entropy[spots[0].begin : spots[-1].end]
        return Evidence(
            # Where each symbol was surest: in a mean over frames blanks would drown the letters.
            sound=logit(math.exp(sum(spot.log_p for spot in spots) / len(spots))),
            clarity=-float(frames.sum()) / len(spots),
            language=float(np.mean(self.language[begin : end + 1])),
            agreement=-float(np.mean(self.doubts[begin : end + 1])),
            known=known_share,
        )


def clues(
    log_p: Scores,
    hypotheses: Sequence[Hypothesis],
    spots: Sequence[Spot],
    language: Sequence[float],
) -> Clues:
    """Gather them for the first hypothesis; log_p: (u, c), `spots` (l), `language` (l + 1)."""
    entropy = -(np.exp(log_p) * np.maximum(log_p, -1e4)).sum(axis=1)
    return Clues(spots, language, _doubts(hypotheses), entropy)


def _doubts(hypotheses: Sequence[Hypothesis]) -> NDArray[np.float64]:
    """How many edits each place of the first hypothesis would need, by what the others say."""
    best = hypotheses[0]
    scores = FLATTENED * np.array([one.score - best.score for one in hypotheses])
    shares = np.exp(scores - np.logaddexp.reduce(scores))
    doubts = np.zeros(len(best.ids) + 1)
    for share, other in zip(shares[1:], hypotheses[1:], strict=True):
        for edit in Levenshtein.editops(best.ids, other.ids):
            doubts[edit.src_pos] += share
    return doubts
