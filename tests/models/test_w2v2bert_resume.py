"""Training stopped at any moment goes on bit by bit as if it had not been."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.speech import spoken_clips

from pipelines.asr.w2v2bert.config import tiny
from pipelines.asr.w2v2bert.train import TrainingData, train
from pipelines.progress import ignore_progress
from pipelines.training.clips import Clip

CONFIG = replace(
    tiny(),
    epochs=4,
    batch_s=4.0,
    evaluate_every_epochs=2,
    checkpoint_every_epochs=1,
    time_masks=2,
    feature_masks=1,
)


class Stopped(BaseException):
    """What a canceled job's heartbeat raises."""


class StopAt:
    """A progress that raises at the n-th report of the training itself."""

    def __init__(self, call):
        self.left = call

    def __call__(self, message, *, epoch=None, fraction=None):
        self.left -= epoch is not None
        if self.left < 0:
            raise Stopped


def _clips():
    return [Clip(clip.path.stem, clip.path, clip.text) for clip in spoken_clips(longest_s=4.0)]


def _train(home, progress=ignore_progress, clips=None, config=CONFIG):
    data = TrainingData(clips or _clips(), home)
    return train(config, data, device="cpu", progress=progress)


def _files(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def _newest_state(home):
    return max(home.glob("step-*"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The training that all others must equal."""
    home = tmp_path_factory.mktemp("uninterrupted")
    return home, _train(home)


@pytest.mark.parametrize("call", [0, 1, 4, 8])
def test_a_stopped_training_goes_on_bit_by_bit(tmp_path, uninterrupted, call):
    """Before the first step, within an epoch and at an evaluation: same model, same state, same curve."""
    home, expected = uninterrupted
    with pytest.raises(Stopped):
        _train(tmp_path, StopAt(call))
    result = _train(tmp_path)
    assert _files(result.model_directory) == _files(expected.model_directory)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert _files(_newest_state(tmp_path))[name] == _files(_newest_state(home))[name]
    assert result.metrics_csv.read_bytes() == expected.metrics_csv.read_bytes()


def test_a_damaged_newest_state_costs_some_steps_only(tmp_path, uninterrupted):
    """The one before is used, and the end is the same."""
    _, expected = uninterrupted
    with pytest.raises(Stopped):
        _train(tmp_path, StopAt(8))
    weights = _newest_state(tmp_path) / "optimizer.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0xFF
    weights.write_bytes(content)
    result = _train(tmp_path)
    assert _files(result.model_directory) == _files(expected.model_directory)


def test_a_seed_gives_the_same_model_twice_and_another_seed_another(tmp_path, uninterrupted):
    """Nothing but the seed is random."""
    _, expected = uninterrupted
    same = _train(tmp_path / "same")
    other = _train(tmp_path / "other", config=replace(CONFIG, seed=1))
    weights = "model.safetensors"
    assert _files(same.model_directory) == _files(expected.model_directory)
    assert _files(other.model_directory)[weights] != _files(expected.model_directory)[weights]


def test_a_state_is_not_mixed_with_other_recordings(tmp_path):
    """It belongs to its data: with other data, everything begins anew."""
    with pytest.raises(Stopped):
        _train(tmp_path / "changed", StopAt(3))
    begun_anew = _train(tmp_path / "changed", clips=_clips()[:2])
    fresh = _train(tmp_path / "fresh", clips=_clips()[:2])
    assert begun_anew.metrics_csv.read_text() == fresh.metrics_csv.read_text()
