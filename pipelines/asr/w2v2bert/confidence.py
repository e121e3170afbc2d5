"""How far a recogniser's probabilities may be believed: a calibration, and how to judge it.

A network's own probabilities are too sure of themselves, and once a language model has had its say
they are only a part of the evidence. Logistic regression on held-out speech weighs what there is until
it means what it says (Platt 1999, with more than one number). A few dozen verses determine it,
with a weak prior on "believe the network". Knows no words and no sound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_EDGE = 1e-4
_PRIOR = 1.0
"""How firmly, in cases, the network is believed before the first one is seen."""
_NEWTON_STEPS = 100


class Evidence(NamedTuple):
    """What speaks for a word or a verse; more is better in each."""

    sound: float
    """Logit of the mean probability of its symbols in the network's output."""
    language: float = 0.0
    """Mean log-probability of its symbols in the language model, 0 without one."""
    share: float = 0.0
    """Log of its share among everything that the beam search found, 0 without one."""


SOUND_ALONE = Evidence(1.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The sigmoid of weighted evidence; left alone it believes the network."""

    weights: Evidence = SOUND_ALONE
    shift: float = 0.0

    def __call__(self, evidence: Sequence[Evidence]) -> Values:
        """Calibrated probabilities; weights are never negative, so more evidence is more certain."""
        return _sigmoid(np.asarray(evidence, np.float64).reshape(-1, 3) @ self.weights + self.shift)

    def of(self, evidence: Evidence) -> float:
        """One of them."""
        return float(self([evidence])[0])

    @classmethod
    def fitted(
        cls,
        evidence: Sequence[Evidence],
        shares_right: Sequence[float],
        counts: Sequence[float] | None = None,
    ) -> Calibration:
        """The most likely one for cases whose share of right words or letters (0…1) is known.

        `counts` say how many words or letters a case stands for, one if not given.
        """
        rows = np.asarray(evidence, np.float64).reshape(-1, 3)
        if not len(rows):
            return cls()
        cases = _Cases(rows, np.asarray(shares_right), np.asarray(counts or [1.0] * len(rows)))
        used = np.array([True, True, True])
        while True:
            weights, shift = cases.fit(used)
            wrong = (weights < 0.0) & used
            if not wrong.any():
                return cls(Evidence(*weights.tolist()), shift)
            # What speaks against a word the surer it is says nothing: chance in too few cases.
            used &= ~wrong


def logit(probability: float) -> float:
    """Inverse of the sigmoid, kept finite."""
    p = min(max(probability, _EDGE), 1.0 - _EDGE)
    return math.log(p / (1.0 - p))


@dataclass(frozen=True, slots=True)
class _Cases:
    """Evidence (n, 3), what came of it (n), and how much each case counts (n)."""

    evidence: Values
    right: Values
    counts: Values

    def fit(self, used: NDArray[np.bool_]) -> tuple[Values, float]:
        """Weights and shift by Newton's method; what is not used gets no weight."""
        # Centred, so that a weight does not have to do the work of the shift, which has no prior.
        centre = np.average(self.evidence, axis=0, weights=self.counts)
        ones = np.ones((len(self.evidence), 1))
        inputs = np.concatenate([(self.evidence - centre) * used, ones], axis=1)
        prior = np.array([_PRIOR, _PRIOR, _PRIOR, 1e-3])
        start = np.array([*SOUND_ALONE, 0.0]) * [*used, True]
        weights: Values = start.copy()
        for _ in range(_NEWTON_STEPS):
            p = _sigmoid(inputs @ weights)
            gradient = inputs.T @ (self.counts * (p - self.right)) + prior * (weights - start)
            spread = (self.counts * p * (1.0 - p))[:, None]
            step = np.linalg.solve((inputs * spread).T @ inputs + np.diag(prior), gradient)
            # Where everything is sure, the curvature is next to nothing and a step would overshoot.
            weights -= np.clip(step, -1.0, 1.0)
            if float(np.abs(step).max()) < 1e-9:
                break
        return weights[:3], float(weights[3] - weights[:3] @ centre)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's: 1 for the same order, −1 for the opposite one; None where there is no order."""
    if len(one) < 3 or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: Sequence[float]) -> Values:
    """Equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Values = (last - (counts - 1) / 2.0)[inverse]
    return ranks


def _sigmoid(x: Values) -> Values:
    p: Values = 1.0 / (1.0 + np.exp(-np.clip(x, -40.0, 40.0)))
    return p
