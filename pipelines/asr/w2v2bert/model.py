"""Making and loading the network: a Wav2Vec2-BERT encoder, an adapter, a CTC head.

The modules are those of `transformers`; weights come from safetensors files only. Axis letters:
n recordings, t encoder frames, u output frames (every 40 ms), c symbols.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertForCTC
from transformers.utils import logging as transformers_logging

from pipelines.asr.w2v2bert.attention import look_positions_up
from pipelines.asr.w2v2bert.config import ADAPTER_STRIDE, FRAME_S, RecogniserConfig
from pipelines.asr.w2v2bert.processor import FEATURE_SIZE, FeatureExtractor
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.errors import BadCheckpoint, ModelNotFound

WEIGHTS = "model.safetensors"
NEW_LAYERS = ("wav2vec2_bert.adapter.", "lm_head.")
"""What a base model does not have; any other missing weight is an error."""


@dataclass(frozen=True, slots=True)
class Recogniser:
    """A network with the vocabulary that its outputs mean."""

    network: nn.Module
    vocabulary: Vocabulary

    @property
    def hidden_size(self) -> int:
        """Width of the encoder."""
        config: Any = self.network.config
        return int(config.hidden_size)

    def output_frames(self, frames: int) -> int:
        """How many outputs (u) a number of encoder frames (t) gives."""
        config: Any = self.network.config
        return -(-frames // ADAPTER_STRIDE) if config.add_adapter else frames

    @property
    def output_s(self) -> float:
        """Duration of an output frame."""
        config: Any = self.network.config
        return FRAME_S * ADAPTER_STRIDE if config.add_adapter else FRAME_S

    def save_memory(self) -> None:
        """Compute activations again in the backward pass instead of keeping them."""
        network: Any = self.network
        name = "activation_checkpointing_enable"  # called gradient_… before transformers 5
        enable = getattr(network, name, None) or network.gradient_checkpointing_enable
        enable({"use_reentrant": False})

    def save(self, directory: Path) -> None:
        """Write a directory that `load` and `transformers` read."""
        transformers_logging.disable_progress_bar()
        network: Any = self.network
        network.save_pretrained(directory)
        self.vocabulary.save(directory)
        FeatureExtractor().save(directory)


def build(config: RecogniserConfig, vocabulary: Vocabulary) -> Recogniser:
    """Make a small network from scratch; its weights follow torch's random generator."""
    shape = config.encoder
    if shape is None:
        raise ModelNotFound("No base model was given, and the recipe needs one.")
    settings = Wav2Vec2BertConfig(
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate_size,
        conv_depthwise_kernel_size=shape.convolution_kernel,
        feature_projection_input_dim=FEATURE_SIZE,
        output_hidden_size=shape.hidden_size,
        position_embeddings_type="relative_key" if shape.relative_positions else None,
        conformer_conv_dropout=0.0,
        **_ctc_settings(vocabulary),
    )
    network = Wav2Vec2BertForCTC(settings)
    look_positions_up(network)
    return Recogniser(network, vocabulary)


def load_base(directory: Path, vocabulary: Vocabulary) -> Recogniser:
    """Put a new adapter and head on the encoder in a base model's directory.

    Raises:
        ModelNotFound: there is no Wav2Vec2-BERT in the directory.
        BadCheckpoint: weights of the encoder are missing or have another shape.
    """
    if _model_type(directory) != "wav2vec2-bert":
        raise ModelNotFound(f"The base model {directory.name} is no Wav2Vec2-BERT model.")
    network = _from_pretrained(directory, _ctc_settings(vocabulary), new_layers=NEW_LAYERS)
    return Recogniser(network, vocabulary)


def load(directory: Path) -> Recogniser:
    """Load a trained recogniser.

    Raises:
        BadCheckpoint: not a complete Wav2Vec2-BERT CTC model in safetensors.
    """
    if _model_type(directory) != "wav2vec2-bert":
        raise BadCheckpoint("The file holds no Wav2Vec2-BERT model.")
    network = _from_pretrained(directory, {}, new_layers=())
    config: Any = network.config
    vocabulary = Vocabulary.load(directory).padded_to(config.vocab_size)
    if config.vocab_size != len(vocabulary) or config.pad_token_id != vocabulary.blank_id:
        raise BadCheckpoint(
            f"The model has {config.vocab_size} outputs and blank {config.pad_token_id}, its "
            f"vocabulary {len(vocabulary)} symbols and blank {vocabulary.blank_id}."
        )
    return Recogniser(network, vocabulary)


def with_vocabulary(recogniser: Recogniser, vocabulary: Vocabulary) -> Recogniser:
    """Give a trained recogniser more symbols; known ones keep their weights (ids must agree)."""
    if vocabulary.symbols == recogniser.vocabulary.symbols:
        return recogniser
    network: Any = recogniser.network
    old: nn.Linear = network.lm_head
    head = nn.Linear(old.in_features, len(vocabulary))
    known = len(recogniser.vocabulary)
    with torch.no_grad():
        head.weight[:known] = old.weight
        head.bias[:known] = old.bias
    network.lm_head = head
    network.config.vocab_size = len(vocabulary)
    return Recogniser(network, vocabulary)


def _ctc_settings(vocabulary: Vocabulary) -> dict[str, Any]:
    """The published recipe; `pad_token_id` left alone would make the first letter the blank."""
    return {
        "vocab_size": len(vocabulary),
        "pad_token_id": vocabulary.blank_id,
        "bos_token_id": None,
        "eos_token_id": None,
        "ctc_loss_reduction": "mean",
        "ctc_zero_infinity": True,
        "add_adapter": True,
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
        "feat_proj_dropout": 0.0,
        "final_dropout": 0.0,
        "layerdrop": 0.0,
        "apply_spec_augment": False,  # `augment` masks features, from the run's own generator
    }


def _from_pretrained(
    directory: Path, settings: Mapping[str, Any], *, new_layers: Iterable[str]
) -> nn.Module:
    transformers_logging.disable_progress_bar()
    # Its report of missing weights is checked here, and would only frighten in a job's log.
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        network, report = Wav2Vec2BertForCTC.from_pretrained(
            directory,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
            **settings,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BadCheckpoint(
            "The model's weights are missing, damaged or not in safetensors form."
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    allowed = tuple(new_layers)
    missing = [key for key in report["missing_keys"] if not key.startswith(allowed or "\0")]
    if missing or report["mismatched_keys"]:
        wrong = ", ".join(sorted(map(str, [*missing, *report["mismatched_keys"]]))[:5])
        raise BadCheckpoint(f"The model's weights are incomplete or of another shape: {wrong}.")
    typed: nn.Module = network
    look_positions_up(typed)
    return typed


def _model_type(directory: Path) -> str | None:
    try:
        document: Any = json.loads((directory / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return document.get("model_type") if isinstance(document, dict) else None
