"""How far a recogniser's probabilities may be believed: a calibration, and how to judge it.

A network's own probabilities are too sure of themselves, and once a language model has had its say
they are only a part of the evidence. Logistic regression on held-out speech weighs what there is until
it means what it says (Platt 1999, with more than one number). A few dozen verses determine it, with a
weak prior: every kind of evidence tells something, and all the same (Dawes 1979, "The robust beauty of
improper linear models"). Knows no words and no sound.
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
_PRIOR_WEIGHT = 0.2
"""What a kind of evidence is worth before the first case is seen, per standard deviation …"""
_PRIOR = 3.0
"""… and how firmly, in cases, that is believed."""
_PRIOR_SHIFT = 1e-3
_NEWTON_STEPS = 100


class Evidence(NamedTuple):
    """What speaks for a word or a verse; more is better in each."""

    sound: float
    """Logit of the mean probability of its symbols in the network's output."""
    clarity: float = 0.0
    """Minus the entropy of the network's output, per symbol."""
    language: float = 0.0
    """Mean log-probability of its symbols in the language model, 0 without one."""
    agreement: float = 0.0
    """Minus the edits per symbol to what else the beam search found, 0 without one."""
    known: float = 0.0
    """Share of its words that the project's texts have, 0 without a language model."""
    words: float = 0.0
    """Of a verse: minus the log of the wrong words to be expected, per symbol."""


KINDS = len(Evidence._fields)
SOUND_ALONE = Evidence(1.0)


def from_words(confidences: Values, symbols: int) -> float:
    """The evidence `words` of a verse, from how sure its words are."""
    return -math.log(max(float((1.0 - confidences).sum()), _EDGE) / symbols)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The sigmoid of weighted evidence; left alone it believes the network."""

    weights: Evidence = SOUND_ALONE
    shift: float = 0.0

    def __call__(self, evidence: Sequence[Evidence]) -> Values:
        """Calibrated probabilities; weights are never negative, so more evidence is more certain."""
        return _sigmoid(_rows(evidence) @ self.weights + self.shift)

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
        rows = _rows(evidence)
        if not len(rows):
            return cls()
        cases = _Cases(rows, np.asarray(shares_right), np.asarray(counts or [1.0] * len(rows)))
        used = np.full(KINDS, fill_value=True)
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
    """Evidence (n, k), what came of it (n), and how much each case counts (n)."""

    evidence: Values
    right: Values
    counts: Values

    def fit(self, used: NDArray[np.bool_]) -> tuple[Values, float]:
        """Weights and shift by Newton's method; what is not used, or never differs, gets no weight."""
        # In standard deviations from the mean, so that one prior fits every kind of evidence.
        centre = np.average(self.evidence, axis=0, weights=self.counts)
        spread = np.sqrt(np.average((self.evidence - centre) ** 2, axis=0, weights=self.counts))
        scale = np.where(used & (spread > 1e-6), 1.0 / np.maximum(spread, 1e-6), 0.0)
        inputs = np.concatenate(
            [(self.evidence - centre) * scale, np.ones((len(self.evidence), 1))], axis=1
        )
        prior = np.array([_PRIOR] * KINDS + [_PRIOR_SHIFT])
        expected = np.array([_PRIOR_WEIGHT] * KINDS + [0.0])
        weights: Values = expected.copy()
        for _ in range(_NEWTON_STEPS):
            p = _sigmoid(inputs @ weights)
            gradient = inputs.T @ (self.counts * (p - self.right)) + prior * (weights - expected)
            curvature = (self.counts * p * (1.0 - p))[:, None]
            step = np.linalg.solve((inputs * curvature).T @ inputs + np.diag(prior), gradient)
            # Where everything is sure, the curvature is next to nothing and a step would overshoot.
            weights -= np.clip(step, -1.0, 1.0)
            if float(np.abs(step).max()) < 1e-9:
                break
        slopes = weights[:KINDS] * scale
        return slopes, float(weights[KINDS] - slopes @ centre)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's: 1 for the same order, −1 for the opposite one; None where there is no order."""
    if len(one) < 3 or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _rows(evidence: Sequence[Evidence]) -> Values:
    return np.asarray(evidence, np.float64).reshape(-1, KINDS)


def _ranks(values: Sequence[float]) -> Values:
    """Equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Values = (last - (counts - 1) / 2.0)[inverse]
    return ranks


def _sigmoid(x: Values) -> Values:
    p: Values = 1.0 / (1.0 + np.exp(-np.clip(x, -40.0, 40.0)))
    return p
