"""The language model and the search, against doing it the long way round."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pipelines.asr.w2v2bert.beam import Weights, search
from pipelines.asr.w2v2bert.language_model import FILE_NAME, CharacterModel
from pipelines.errors import BadCheckpoint

SYMBOLS = 4
BLANK = 0


@pytest.fixture
def model():
    """A language of three letters."""
    return CharacterModel.from_sentences(
        [[1, 2, 3], [1, 2, 1], [3, 3, 1, 2]], symbols=SYMBOLS, boundary=BLANK, order=3
    )


def _log_probability(model, ids):
    return sum(model.scores(ids))


def _recordings(seed, count=4):
    dice = np.random.default_rng(seed)
    recordings = []
    for frames in dice.integers(1, 7, count):
        logits = 1.5 * dice.normal(size=(frames, SYMBOLS))
        recordings.append(
            (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
        )
    return recordings


def _best_of_all(log_p, model, weights):
    """Try every path; add up those that say the same."""
    heard = {}
    for path in product(range(SYMBOLS), repeat=len(log_p)):
        ids = tuple(symbol for symbol, _ in groupby(path) if symbol != BLANK)
        score = sum(log_p[frame, symbol] for frame, symbol in enumerate(path))
        heard[ids] = np.logaddexp(heard.get(ids, -np.inf), score)
    return max(
        heard,
        key=lambda ids: (
            heard[ids] + weights.alpha * _log_probability(model, ids) + weights.beta * len(ids)
        ),
    )


@pytest.mark.parametrize("seed", range(12))
def test_the_search_finds_what_trying_everything_finds(model, seed):
    """For recordings of different length in one batch."""
    weights = Weights(alpha=0.7, beta=0.5, width=200)
    recordings = _recordings(seed)
    expected = [_best_of_all(log_p, model, weights) for log_p in recordings]
    assert [found[0].ids for found in search(recordings, model, weights)] == expected


def test_what_stands_alone_has_no_rivals_of_weight(model):
    """Clear speech leaves nothing else to find; noise leaves much, the likelier first."""
    clear = np.log(np.full((3, SYMBOLS), 0.001, np.float32))
    clear[[0, 1, 2], [1, BLANK, 2]] = np.log(0.997)
    noise = np.log(np.full((3, SYMBOLS), 0.25, np.float32))
    sure, unsure = (
        [one.score for one in found] for found in search([clear, noise], model, Weights(0.1))
    )
    assert sure[0] - np.logaddexp.reduce(sure) > np.log(0.95)
    assert unsure[0] - np.logaddexp.reduce(unsure) < np.log(0.6)
    assert unsure == sorted(unsure, reverse=True)


def test_company_does_not_change_what_is_found(model):
    """A recording is searched on its own, whatever else is in the batch."""
    recordings = _recordings(99, count=9)
    together = search(recordings, model, Weights(0.5, 0.3, 4))
    alone = [search([log_p], model, Weights(0.5, 0.3, 4))[0] for log_p in recordings]
    assert [one.ids for found in together for one in found] == [
        one.ids for found in alone for one in found
    ]


def test_after_every_context_probabilities_add_up_to_one(model):
    """Whatever was seen there, and for what was not."""
    for state in range(len(model.keys) + 1):
        scores, _ = model.advance(np.full(SYMBOLS, state), np.arange(SYMBOLS))
        assert np.exp(scores).sum() == pytest.approx(1.0, abs=1e-5)


def test_what_was_read_is_likelier_than_what_was_not(model):
    """The point of a language model; sentences do not run on into the next."""
    assert _log_probability(model, [1, 2, 3]) > _log_probability(model, [3, 2, 1])
    assert _log_probability(model, [1, 2]) > _log_probability(model, [2, 1])


def test_many_sentences_are_scored_as_each_one_is(model):
    """In one go, the end counted."""
    sentences = [[1, 2, 3], [3], [], [2, 2, 2, 1, 3]]
    expected = [_log_probability(model, one) / (len(one) + 1) for one in sentences]
    assert model.means(sentences) == pytest.approx(expected)


def test_a_model_survives_its_file(model, tmp_path):
    """The same numbers come back."""
    model.save(tmp_path)
    loaded = CharacterModel.load(tmp_path)
    for ids in ([1, 2, 3], [3], [2, 2, 2]):
        assert _log_probability(loaded, ids) == _log_probability(model, ids)


@pytest.mark.parametrize("name", ["shorter", "state", "keys", "log_p"])
def test_a_file_that_would_never_end_is_refused(model, tmp_path, name):
    """Links must lead to shorter contexts; a file from a repository may hold anything."""
    model.save(tmp_path)
    arrays = dict(load_file(tmp_path / FILE_NAME))
    arrays[name] = arrays[name][::-1].copy() if name == "keys" else arrays[name] + 100
    if name == "log_p":
        arrays[name] = arrays[name][:-1]
    save_file(arrays, tmp_path / FILE_NAME)
    with pytest.raises(BadCheckpoint):
        CharacterModel.load(tmp_path)


def test_rubbish_is_refused(tmp_path):
    """In words."""
    (tmp_path / FILE_NAME).write_bytes(b"rubbish")
    with pytest.raises(BadCheckpoint):
        CharacterModel.load(tmp_path)


def test_silence_is_nothing(model):
    """No frames, no symbols."""
    ((found,),) = search([np.zeros((0, SYMBOLS), np.float32)], model, Weights(1.0))
    assert found.ids == ()
    assert search([], model, Weights(1.0)) == []
