"""How far a recogniser's probabilities may be believed: a calibration, and how to judge it.

A network's own probabilities are too sure of themselves. Platt scaling (Platt 1999) stretches and
shifts their logits until they mean what they say on held-out speech: two numbers, which a few
dozen verses can determine, held near "unchanged" by a weak prior. Knows no words and no sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]

_EDGE = 1e-4
_PRIOR = 2.0
"""As if this many cases had said that nothing needs changing."""
_NEWTON_STEPS = 100


@dataclass(frozen=True, slots=True)
class Calibration:
    """`sigmoid(slope · logit(p) + shift)`; left alone it changes nothing."""

    slope: float = 1.0
    shift: float = 0.0

    def __call__(self, probabilities: ArrayLike) -> Values:
        """Calibrated probabilities, in the order of the raw ones: the slope is never negative."""
        return _sigmoid(self.slope * _logit(probabilities) + self.shift)

    def of(self, probability: float) -> float:
        """One of them."""
        return float(self(probability))

    @classmethod
    def fitted(cls, probabilities: Sequence[float], shares_right: Sequence[float]) -> Calibration:
        """The most likely one for cases whose share of right words or letters (0…1) is known."""
        x = np.stack([_logit(probabilities), np.ones(len(probabilities))], axis=1)
        target = np.asarray(shares_right, np.float64)
        identity = np.array([1.0, 0.0])
        weights = identity.copy()
        for _ in range(_NEWTON_STEPS):
            p = _sigmoid(x @ weights)
            gradient = x.T @ (p - target) + _PRIOR * (weights - identity)
            curvature = (x * (p * (1.0 - p))[:, None]).T @ x + _PRIOR * np.eye(2)
            step = np.linalg.solve(curvature, gradient)
            # Where everything is sure, the curvature is next to nothing and a step would overshoot.
            weights -= np.clip(step, -1.0, 1.0)
            if float(np.abs(step).max()) < 1e-9:
                break
        if weights[0] <= 0.0:
            return cls(slope=0.0, shift=float(_logit(target.mean())))
        return cls(slope=float(weights[0]), shift=float(weights[1]))


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


def _logit(probabilities: ArrayLike) -> Values:
    p = np.clip(np.asarray(probabilities, np.float64), _EDGE, 1.0 - _EDGE)
    logits: Values = np.log(p / (1.0 - p))
    return logits


def _sigmoid(x: Values) -> Values:
    p: Values = 1.0 / (1.0 + np.exp(-np.clip(x, -40.0, 40.0)))
    return p
