"""What the held-out verses decide, and that what is reported of them is honest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.noisy_language import OUTPUT_S, WORDS, noisy_language

from pipelines.asr.w2v2bert.confidence import rank_correlation
from pipelines.asr.w2v2bert.reader import DOUBTFUL, Reader
from pipelines.asr.w2v2bert.trust import SURE, calibrate, verse_cer
from pipelines.asr.w2v2bert.tuning import HeldOut, tune

pytestmark = pytest.mark.timeout(600)  # seconds of work, minutes on a busy machine


def _noop():
    pass


def test_the_language_model_repairs_what_was_misheard():
    """With other texts of the language, and never with the held-out ones."""
    vocabulary, held_out = noisy_language(3)
    _, others = noisy_language(4, verses=200)
    tuned = tune(vocabulary, OUTPUT_S, held_out, [*others.texts, *held_out.texts], _noop)
    assert tuned.greedy_cer > 0.02
    assert tuned.cer < 0.8 * tuned.greedy_cer
    assert tuned.reader.decoding.weights.alpha > 0


def test_a_language_model_that_does_not_help_is_left_out():
    """Text of another language makes nothing better."""
    vocabulary, held_out = noisy_language(6, verses=24)
    wrong = ["".join(sorted(word))[::-1] for word in WORDS] * 20
    tuned = tune(vocabulary, OUTPUT_S, held_out, wrong, _noop)
    assert tuned.cer <= tuned.greedy_cer


def test_without_held_out_verses_nothing_is_decided():
    """Greedy reading, plain probabilities, no figures."""
    vocabulary, _ = noisy_language(7, verses=1)
    tuned = tune(vocabulary, OUTPUT_S, HeldOut([], []), ["text"], _noop)
    assert (tuned.cer, tuned.reader.decoding.weights.alpha) == (None, 0.0)


def test_one_held_out_verse_is_measured_and_decides_little():
    """As in a project of eight verses."""
    vocabulary, held_out = noisy_language(8, verses=1)
    tuned = tune(vocabulary, OUTPUT_S, held_out, held_out.texts, _noop)
    assert tuned.cer == tuned.greedy_cer
    assert DOUBTFUL <= tuned.reader.decoding.doubtful_below <= SURE


@pytest.mark.parametrize("with_language", [True, False])
def test_confidence_of_new_verses_follows_their_errors(with_language):
    """In its order and in its mean; below the mark are few verses, with most of the errors."""
    vocabulary, held_out = noisy_language(5)
    _, others = noisy_language(4, verses=200)
    texts = others.texts if with_language else ()
    reader = tune(vocabulary, OUTPUT_S, held_out, texts, _noop).reader
    _, new = noisy_language(9, verses=120)
    readings = reader.read(new.emissions)
    wrong = [verse_cer(text, one.text) for text, one in zip(new.texts, readings, strict=True)]
    confidence = [reading.confidence for reading in readings]
    assert rank_correlation(confidence, wrong) < -0.6
    assert np.mean(confidence) == pytest.approx(1.0 - np.mean(wrong), abs=0.04)
    doubtful = np.array(confidence) < reader.decoding.doubtful_below
    assert 0 < doubtful.mean() < 0.4
    assert np.sum(wrong, where=doubtful) > 0.5 * np.sum(wrong)


def _judged(seed=5):
    vocabulary, held_out = noisy_language(seed)
    reader = Reader(vocabulary, OUTPUT_S)
    return reader.read(held_out.emissions), list(held_out.texts), reader.decoding


def test_a_verse_is_judged_by_what_was_learnt_from_others():
    """Its own truth changes nothing of its own reported confidence, and does change that of others."""
    readings, texts, decoding = _judged()
    before = calibrate(readings, texts, decoding).readings
    texts[0] = "gagi gagi"
    after = calibrate(readings, texts, decoding).readings
    assert after[0] == before[0]
    assert after[-1].confidence != before[-1].confidence


def test_words_are_calibrated_too():
    """The mean confidence of the words that were heard is the share of right ones."""
    readings, texts, decoding = _judged()
    confidence, is_right = np.array(calibrate(readings, texts, decoding).words).T
    assert set(is_right) == {0.0, 1.0}
    assert confidence.mean() == pytest.approx(is_right.mean(), abs=0.05)
    assert confidence[is_right == 1.0].mean() > confidence[is_right == 0.0].mean() + 0.2


def test_good_verses_are_never_doubtful_however_good_the_others_are():
    """Where all is right, hardly anything calls for a look."""
    readings, _, decoding = _judged()
    trust = calibrate(readings, [reading.text for reading in readings], decoding)
    assert trust.decoding.doubtful_below <= SURE


def test_verses_in_which_nothing_was_heard_are_no_evidence():
    """They stay without confidence, and do not stop the others from having one."""
    readings, texts, decoding = _judged()
    silent = replace(readings[0], text="", words=(), word_evidence=())
    trust = calibrate([silent, *readings[1:]], texts, decoding)
    assert trust.readings[0] == silent
    assert all(reading.confidence > 0.0 for reading in trust.readings[1:])
