"""Starting from base weights: what must be there, what may be new, and who learns first."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.speech import spoken_clips
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

from pipelines.asr.w2v2bert import model
from pipelines.asr.w2v2bert.config import standard, tiny
from pipelines.asr.w2v2bert.task import RecogniserTask
from pipelines.asr.w2v2bert.train import TrainingData, train
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.errors import BadCheckpoint, ModelNotFound
from pipelines.progress import ignore_progress
from pipelines.training.clips import Clip
from pipelines.training.loop import Evaluation

VOCABULARY = Vocabulary.from_texts(["ab cd"])
LAYER = "encoder.layers.1.ffn1.output_dense.weight"


@pytest.fixture
def base(tmp_path):
    """An encoder as the hub has it: no adapter, no head."""
    config = Wav2Vec2BertConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48
    )
    torch.manual_seed(0)
    Wav2Vec2BertModel(config).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def _change_weights(directory, change):
    weights = load_file(directory / "model.safetensors")
    change(weights)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def test_the_encoder_is_kept_and_only_new_layers_are_new(base):
    """Base weights arrive unchanged; CTC settings follow the recipe."""
    recogniser = model.load_base(base, VOCABULARY)
    loaded = recogniser.network.state_dict()
    for name, tensor in load_file(base / "model.safetensors").items():
        assert torch.equal(loaded[f"wav2vec2_bert.{name}"], tensor), name
    assert loaded["lm_head.weight"].shape == (len(VOCABULARY), 32)
    settings = recogniser.network.config
    assert (settings.pad_token_id, settings.vocab_size) == (VOCABULARY.blank_id, len(VOCABULARY))
    assert settings.add_adapter
    assert settings.ctc_zero_infinity
    assert settings.ctc_loss_reduction == "mean"


def test_a_missing_encoder_weight_is_an_error(base):
    """A half-loaded encoder would train, badly."""
    _change_weights(base, lambda weights: weights.pop(LAYER))
    with pytest.raises(BadCheckpoint, match=r"layers\.1\.ffn1"):
        model.load_base(base, VOCABULARY)


def test_a_weight_of_another_shape_is_an_error(base):
    """Nothing is re-initialised silently."""

    def shrink(weights):
        weights[LAYER] = weights[LAYER][:, :-1].contiguous()

    _change_weights(base, shrink)
    with pytest.raises(BadCheckpoint):
        model.load_base(base, VOCABULARY)


def test_pickled_weights_are_not_loaded(base):
    """Only safetensors."""
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    with pytest.raises(BadCheckpoint, match="safetensors"):
        model.load_base(base, VOCABULARY)


def test_another_kind_of_model_is_named(base, tmp_path):
    """A directory without the right model is the operator's mistake."""
    (base / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelNotFound):
        model.load_base(base, VOCABULARY)
    with pytest.raises(ModelNotFound):
        model.load_base(tmp_path / "nowhere", VOCABULARY)


def test_a_trained_model_must_fit_its_vocabulary(base, tmp_path):
    """Outputs without meaning are refused."""
    recogniser = model.load_base(base, VOCABULARY)
    recogniser.save(tmp_path)
    Vocabulary.from_texts(["abcdefgh"]).save(tmp_path)
    with pytest.raises(BadCheckpoint, match="symbols"):
        model.load(tmp_path)


def test_a_standard_training_starts_with_the_new_layers(base, tmp_path):
    """The encoder rests for the first tenth, then learns."""
    clips = [Clip(clip.path.stem, clip.path, clip.text) for clip in spoken_clips(longest_s=3.5)]
    weights = []

    class Stopped(BaseException):
        pass

    def stop_early(message, *, epoch=None, fraction=None):
        if epoch is not None and fraction > 0.09:
            raise Stopped

    config = replace(standard(), epochs=24, batch_s=4.0, accumulate=1, patience=None)
    data = TrainingData(clips, tmp_path / "home", base=base)
    with pytest.raises(Stopped):
        train(config, data, device="cpu", progress=stop_early)
    early = load_file(max((tmp_path / "home").glob("step-*")) / "model.safetensors")
    weights = load_file(base / "model.safetensors")
    assert torch.equal(early[f"wav2vec2_bert.{LAYER}"], weights[LAYER])

    result = train(config, data, device="cpu", progress=ignore_progress)
    final = load_file(result.model_directory / "model.safetensors")
    assert not torch.equal(final[f"wav2vec2_bert.{LAYER}"], weights[LAYER])
    assert not torch.equal(final["lm_head.weight"], early["lm_head.weight"])
    assert result.epochs_completed == 24


def test_a_recipe_follows_the_amount_of_speech():
    """Little speech: slower, and the new layers first."""
    recipe = standard()
    assert recipe.fitted_to(8 * 3600) == recipe
    assert recipe.fitted_to(40 * 60).learning_rate == 3e-5
    assert recipe.fitted_to(10 * 60).head_first_fraction > 0
    assert tiny().fitted_to(60) == tiny()


def test_the_last_epoch_is_kept_beside_a_better_one(tmp_path, monkeypatch):
    """For who wants it; where the last one is the best there is nothing more to keep."""
    clips = [Clip(clip.path.stem, clip.path, clip.text) for clip in spoken_clips(longest_s=3.0)]
    config = replace(tiny(), epochs=2, evaluate_every_epochs=1)
    for name, scores, has_final in (("worse", [0.5, 0.6], True), ("better", [0.6, 0.5], False)):
        left = iter(scores)
        monkeypatch.setattr(
            RecogniserTask, "evaluate", lambda *_, it=left: Evaluation(next(it), {})
        )
        data = TrainingData(clips, tmp_path / name)
        result = train(config, data, device="cpu", progress=ignore_progress)
        assert (result.final_directory is not None) is has_final
        if result.final_directory:
            assert model.load(result.final_directory).vocabulary.symbols
