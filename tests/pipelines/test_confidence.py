"""Calibration of whatever evidence there is, and how order is compared."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.asr.w2v2bert.confidence import Calibration, Evidence, logit, rank_correlation


def _claimed(probabilities):
    return [Evidence(logit(p)) for p in probabilities]


def test_boasting_is_corrected():
    """Claims of 95 % that are right in 60 % of the cases become 60 %."""
    dice = np.random.default_rng(1)
    claims = dice.uniform(0.9, 0.99, 2000)
    right = (dice.random(2000) < 0.6).astype(float)
    calibration = Calibration.fitted(_claimed(claims), right.tolist())
    assert float(calibration(_claimed(claims)).mean()) == pytest.approx(0.6, abs=0.03)


def test_honest_probabilities_stay():
    """Nothing to correct, nothing corrected."""
    dice = np.random.default_rng(2)
    claims = dice.uniform(0.05, 0.95, 4000)
    right = (dice.random(4000) < claims).astype(float)
    calibration = Calibration.fitted(_claimed(claims), right.tolist())
    assert np.abs(calibration(_claimed(claims)) - claims).max() < 0.06


def test_the_order_is_never_turned_round():
    """Even where the held-out cases are a bad joke, more sure stays at least as sure."""
    calibration = Calibration.fitted(_claimed([0.1] * 50 + [0.9] * 50), [1.0] * 50 + [0.0] * 50)
    sure, unsure = calibration(_claimed([0.9, 0.1]))
    assert sure >= unsure


def test_a_few_cases_do_not_make_certainty():
    """Three words of four being right do not tell sure from unsure; what differs tells something."""
    calibration = Calibration.fitted(_claimed([0.5, 0.6, 0.5, 0.6]), [1.0, 1.0, 0.0, 1.0])
    assert 0.6 < calibration.of(Evidence(logit(0.5))) < calibration.of(Evidence(logit(0.6))) < 0.9
    assert calibration.weights.language == 0.0
    assert Calibration.fitted([], []).of(Evidence(logit(0.7))) == pytest.approx(0.7)


def test_the_evidence_that_tells_gets_the_weight():
    """Where the language model knows and the network does not, the language model is believed."""
    dice = np.random.default_rng(3)
    language = dice.uniform(-3.0, 0.0, 400)
    evidence = [Evidence(float(dice.normal()), language=float(value)) for value in language]
    right = (language > -1.5).astype(float)
    calibration = Calibration.fitted(evidence, right.tolist())
    assert calibration.of(Evidence(0.0, language=-0.2)) > 0.9
    assert calibration.of(Evidence(0.0, language=-2.8)) < 0.1


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [9, 7, 5, 1], -1.0),
        ([1, 1, 2, 3], [5, 5, 6, 7], 1.0),
        ([1, 1, 1], [1, 2, 3], None),
        ([1, 2], [1, 2], None),
    ],
)
def test_order_is_compared_by_rank(one, other, expected):
    """Spearman's coefficient; where there is no order there is no number."""
    found = rank_correlation(one, other)
    assert found == (None if expected is None else pytest.approx(expected))
