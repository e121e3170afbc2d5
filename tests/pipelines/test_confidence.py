"""Calibration, and what the held-out verses decide."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.asr.w2v2bert.confidence import Calibration, Evidence, logit, rank_correlation
from pipelines.asr.w2v2bert.tuning import HeldOut, tune
from pipelines.asr.w2v2bert.vocabulary import Vocabulary

pytestmark = pytest.mark.timeout(600)  # seconds of work, minutes on a busy machine


def _noop():
    pass


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
    """Three words of four being right do not tell sure from unsure."""
    calibration = Calibration.fitted(_claimed([0.5, 0.6, 0.5, 0.6]), [1.0, 1.0, 1.0, 0.0])
    assert calibration.of(Evidence(logit(0.5))) < 0.95
    assert 0.5 < calibration.weights.sound < 1.5
    assert Calibration.fitted([], []).of(Evidence(logit(0.7))) == pytest.approx(0.7)


def test_the_evidence_that_tells_gets_the_weight():
    """Where the language model knows and the network does not, the language model is believed."""
    dice = np.random.default_rng(3)
    language = dice.uniform(-3.0, 0.0, 400)
    evidence = [Evidence(float(dice.normal()), float(value)) for value in language]
    right = (language > -1.5).astype(float)
    calibration = Calibration.fitted(evidence, right.tolist())
    assert calibration.of(Evidence(0.0, -0.2)) > 0.9
    assert calibration.of(Evidence(0.0, -2.8)) < 0.1


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


WORDS = ("baba", "dade", "gagi", "kobe", "dobu", "igade", "bukodi")


def _noisy_language(seed, verses=60):
    """Verses of a small language, and emissions that mishear some letters without being sure."""
    dice = np.random.default_rng(seed)
    vocabulary = Vocabulary.from_texts([" ".join(WORDS)])
    texts, emissions = [], []
    for _ in range(verses):
        text = " ".join(dice.choice(WORDS, 6))
        noise = dice.uniform(0.5, 3.0)
        frames = [f for symbol in vocabulary.encode(text) for f in (symbol, vocabulary.blank_id)]
        logits = dice.normal(size=(len(frames), len(vocabulary))) * noise
        logits[np.arange(len(frames)), frames] += 5.0
        logits[1::2, vocabulary.blank_id] += 5.0
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        texts.append(text)
        emissions.append(log_p.astype(np.float32))
    return vocabulary, HeldOut(emissions, texts)


def test_the_language_model_repairs_what_was_misheard():
    """With other texts of the language, and never with the held-out ones."""
    vocabulary, held_out = _noisy_language(3)
    _, others = _noisy_language(4, verses=200)
    tuned = tune(vocabulary, 0.04, held_out, [*others.texts, *held_out.texts], _noop)
    assert tuned.greedy_cer > 0.02
    assert tuned.cer < 0.8 * tuned.greedy_cer
    assert tuned.reader.decoding.weights.alpha > 0


def test_confidence_tells_good_verses_from_bad_ones():
    """Its order follows the errors, and its mean is the share of right letters."""
    vocabulary, held_out = _noisy_language(5)
    tuned = tune(vocabulary, 0.04, held_out, (), _noop)
    assert tuned.rank_correlation < -0.6
    mean = np.mean([reading.confidence for reading in tuned.readings])
    assert mean == pytest.approx(1.0 - tuned.cer, abs=0.05)
    doubtful = [r.confidence < tuned.reader.decoding.doubtful_below for r in tuned.readings]
    assert 0 < sum(doubtful) < len(doubtful) / 2


def test_a_language_model_that_does_not_help_is_left_out():
    """Text of another language makes nothing better."""
    vocabulary, held_out = _noisy_language(6)
    wrong = ["".join(sorted(word))[::-1] for word in WORDS] * 20
    tuned = tune(vocabulary, 0.04, held_out, wrong, _noop)
    assert tuned.cer <= tuned.greedy_cer


def test_without_held_out_verses_nothing_is_decided():
    """Greedy reading, plain probabilities, no figures."""
    vocabulary, _ = _noisy_language(7, verses=1)
    tuned = tune(vocabulary, 0.04, HeldOut([], []), ["text"], _noop)
    assert (tuned.cer, tuned.reader.decoding.weights.alpha) == (None, 0.0)
