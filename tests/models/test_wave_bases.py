"""Bases that hear waves, as the hub has them: a wav2vec 2.0 and one of MMS with language adapters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.speech import spoken_clips
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2ForPreTraining

from pipelines.asr.w2v2bert import archive, model
from pipelines.asr.w2v2bert.config import standard
from pipelines.asr.w2v2bert.dataset import prepare
from pipelines.asr.w2v2bert.optimizer import NEVER, optimizer_for
from pipelines.asr.w2v2bert.task import Portion, RecogniserTask
from pipelines.asr.w2v2bert.train import TrainingData, train
from pipelines.asr.w2v2bert.transcribe import Recording, Transcriber
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.progress import ignore_progress
from pipelines.training.clips import Clip

pytestmark = pytest.mark.timeout(600)  # seconds of work, minutes on a busy machine

VOCABULARY = Vocabulary.from_texts(["ab cd"])
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "codevector_dim": 8,
    "proj_codevector_dim": 8,
    "num_codevectors_per_group": 4,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}


@pytest.fixture(params=["wav2vec2", "mms"])
def base(request, tmp_path):
    """A directory with random weights: one from pre-training, one with another language's head."""
    torch.manual_seed(0)
    if request.param == "wav2vec2":
        network = Wav2Vec2ForPreTraining(Wav2Vec2Config(**SHAPE))
    else:
        network = Wav2Vec2ForCTC(Wav2Vec2Config(**SHAPE, adapter_attn_dim=4, vocab_size=50))
    network.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def test_the_encoder_is_kept_and_the_head_is_new(base):
    """Whatever the base was made for before."""
    recogniser = model.load_base(base, VOCABULARY)
    loaded = recogniser.network.state_dict()
    for name, tensor in load_file(base / "model.safetensors").items():
        if name.startswith("wav2vec2.encoder.layers.") and "adapter_layer" not in name:
            assert torch.equal(loaded[name], tensor), name
    assert loaded["lm_head.weight"].shape == (len(VOCABULARY), 32)
    assert recogniser.output_s == pytest.approx(0.02)
    assert recogniser.output_frames(16_000) == 49


def test_only_what_is_meant_to_learn_learns(base):
    """Convolutions never; in MMS nothing but the language adapters and the head."""
    recogniser = model.load_base(base, VOCABULARY)
    optimizer = optimizer_for(recogniser, standard())
    names = {parameter: name for name, parameter in recogniser.network.named_parameters()}
    learns = {
        names[parameter]
        for group in optimizer.param_groups
        if group["starts_at"] < NEVER
        for parameter in group["params"]
    }
    assert "lm_head.weight" in learns
    assert not any("feature_extractor" in name for name in learns)
    has_adapters = any("adapter_layer" in name for name in names.values())
    encoder = {name for name in learns if "encoder.layers" in name and "adapter" not in name}
    assert bool(encoder) is not has_adapters


def test_it_masks_its_own_features_while_it_learns(base, tmp_path):
    """By the batch's seed alone, nobody else's dice are touched, and a measurement is never masked."""
    clip = spoken_clips(longest_s=3.0)[0]
    recogniser = model.load_base(base, Vocabulary.from_texts([clip.text]))
    config = replace(standard(), gradient_checkpointing=False)
    corpus = prepare(
        [Clip("a", clip.path, clip.text)],
        recogniser.vocabulary,
        config,
        tmp_path / "features",
        ignore_progress,
        ear=recogniser,
    )
    task = RecogniserTask(recogniser, config, corpus.features, corpus.examples, [])

    def loss(seed):
        torch.manual_seed(0)  # dropout is not what is asked about
        return task.loss(Portion(corpus.examples, seed)).total.item()

    dice = np.random.get_state()[1].copy()
    recogniser.network.train()
    learning = [loss(seed) for seed in ("a", "b", "a")]
    recogniser.network.eval()
    measuring = [loss(seed) for seed in ("a", "b")]
    assert learning[0] == learning[2] != learning[1]
    assert measuring[0] == measuring[1] not in learning
    assert np.array_equal(np.random.get_state()[1], dice)


def test_a_recogniser_grows_from_it_and_is_used_from_one_file(base, tmp_path):
    """Train an epoch, publish, load, transcribe."""
    clips = [Clip(clip.path.stem, clip.path, clip.text) for clip in spoken_clips(longest_s=3.0)]
    config = replace(standard(), epochs=1, batch_s=6.0, gradient_checkpointing=False)
    data = TrainingData(clips, tmp_path / "home", base=base)
    result = train(config, data, device="cpu", progress=ignore_progress)
    archive.pack(result.model_directory, tmp_path / "model.pt")
    archive.unpack(tmp_path / "model.pt", tmp_path / "model")
    transcriber = Transcriber(tmp_path / "model", device="cpu")
    (heard,) = transcriber.transcribe([Recording("a", clips[0].audio)], ignore_progress)
    assert heard.problem is None
    assert 0.0 <= heard.confidence <= 1.0
