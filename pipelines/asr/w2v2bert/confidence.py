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
_PRIOR = 2.0
"""As if this many cases had said that the network is right about itself."""
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
    def fitted(cls, evidence: Sequence[Evidence], shares_right: Sequence[float]) -> Calibration:
        """The most likely one for cases whose share of right words or letters (0…1) is known."""
        rows = np.asarray(evidence, np.float64).reshape(-1, 3)
        inputs = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
        target = np.asarray(shares_right, np.float64)
        used = np.array([True, True, True, True])
        while True:
            weights = _most_likely(inputs * used, target, used)
            wrong = (weights < 0.0) & used & np.array([True, True, True, False])
            if not wrong.any():
                return cls(Evidence(*weights[:3].tolist()), float(weights[3]))
            # What speaks against a word the surer it is says nothing: chance in too few cases.
            used &= ~wrong


def logit(probability: float) -> float:
    """Inverse of the sigmoid, kept finite."""
    p = min(max(probability, _EDGE), 1.0 - _EDGE)
    return math.log(p / (1.0 - p))


def _most_likely(inputs: Values, target: Values, used: NDArray[np.bool_]) -> Values:
    """Newton's method; what is not used gets no weight."""
    start = np.array([*SOUND_ALONE, 0.0]) * used
    weights: Values = start.copy()
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(inputs @ weights)
        gradient = inputs.T @ (p - target) + _PRIOR * (weights - start)
        curvature = (inputs * (p * (1.0 - p))[:, None]).T @ inputs + _PRIOR * np.eye(len(start))
        step = np.linalg.solve(curvature, gradient)
        # Where everything is sure, the curvature is next to nothing and a step would overshoot.
        weights -= np.clip(step, -1.0, 1.0)
        if float(np.abs(step).max()) < 1e-9:
            break
    return weights


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
