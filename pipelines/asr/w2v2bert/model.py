"""Making and loading the network: a Wav2Vec2-BERT encoder, an adapter, a CTC head.

The modules are those of `transformers`; weights come from safetensors files only. Axis letters:
n recordings, t encoder frames, u output frames (every 40 ms), c symbols.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertForCTC
from transformers.utils import logging as transformers_logging

from pipelines.asr.w2v2bert.attention import look_positions_up
from pipelines.asr.w2v2bert.augment import WAVE_SHARE
from pipelines.asr.w2v2bert.config import ADAPTER_STRIDE, FRAME_S, SAMPLE_RATE_HZ, RecogniserConfig
from pipelines.asr.w2v2bert.families import (
    Family,
    family_in,
    family_of,
    has_language_adapters,
    is_new,
)
from pipelines.asr.w2v2bert.processor import FEATURE_SIZE, FeatureExtractor, FrontEnd, PaddedBatch
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.asr.w2v2bert.waves import WaveExtractor
from pipelines.errors import BadCheckpoint, ModelNotFound

WEIGHTS = "model.safetensors"


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

    @property
    def hears_waves(self) -> bool:
        """Whether its input are samples and not mel frames."""
        return family_of(self.network).hears_waves

    @property
    def is_on_cpu(self) -> bool:
        """Whether it computes on a CPU."""
        return next(self.network.parameters()).device.type == "cpu"

    def front_end(self) -> FrontEnd:
        """What turns samples into its input."""
        return WaveExtractor() if self.hears_waves else FeatureExtractor()

    def output_frames(self, rows: int) -> int:
        """How many outputs (u) a number of input rows (t) gives."""
        network: Any = self.network
        if self.hears_waves:
            return int(network._get_feat_extract_output_lengths(torch.tensor(rows)))
        return -(-rows // ADAPTER_STRIDE) if network.config.add_adapter else rows

    @property
    def output_s(self) -> float:
        """Duration of an output frame."""
        config: Any = self.network.config
        stride = math.prod(config.conv_stride) / SAMPLE_RATE_HZ if self.hears_waves else FRAME_S
        return float(stride * ADAPTER_STRIDE if config.add_adapter else stride)

    def __call__(self, batch: PaddedBatch, labels: Tensor | None = None) -> Any:
        """Run the network on its own device; the result has `logits` (n, u, c), and `loss` with labels."""
        first = next(self.network.parameters())
        features = batch.features.to(first.device, first.dtype)
        named = (
            {"input_values": features[..., 0]} if self.hears_waves else {"input_features": features}
        )
        marks = {} if labels is None else {"labels": labels.to(first.device)}
        return self.network(attention_mask=batch.mask.to(first.device), **named, **marks)

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
        self.front_end().save(directory)


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
        **_ctc_settings(vocabulary, gets_adapter=True),
    )
    network = Wav2Vec2BertForCTC(settings)
    look_positions_up(network)
    return Recogniser(network, vocabulary)


def load_base(directory: Path, vocabulary: Vocabulary) -> Recogniser:
    """Put a new adapter and head on the encoder in a base model's directory.

    Raises:
        ModelNotFound: there is no model of a known family in the directory.
        BadCheckpoint: weights of the encoder are missing or have another shape.
    """
    family = family_in(directory)
    if family is None:
        raise ModelNotFound(
            f"The base model {directory.name} is no Wav2Vec2-BERT or wav2vec 2.0 model."
        )
    settings = _ctc_settings(vocabulary, gets_adapter=family.gets_adapter)
    if family.hears_waves:
        settings["mask_time_prob"] = WAVE_SHARE
    network: Any = _from_pretrained(directory, family, settings, is_base=True)
    if has_language_adapters(network):
        network.init_adapter_layers()
    return Recogniser(network, vocabulary)


def load(directory: Path) -> Recogniser:
    """Load a trained recogniser.

    Raises:
        BadCheckpoint: not a complete CTC model of a known family in safetensors.
    """
    family = family_in(directory)
    if family is None:
        raise BadCheckpoint("The file holds no Wav2Vec2-BERT or wav2vec 2.0 model.")
    network = _from_pretrained(directory, family, {}, is_base=False)
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


def _ctc_settings(vocabulary: Vocabulary, *, gets_adapter: bool) -> dict[str, Any]:
    """The published recipe; `pad_token_id` left alone would make the first letter the blank."""
    return {
        "vocab_size": len(vocabulary),
        "pad_token_id": vocabulary.blank_id,
        "bos_token_id": None,
        "eos_token_id": None,
        "ctc_loss_reduction": "mean",
        "ctc_zero_infinity": True,
        "add_adapter": gets_adapter,
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
        "feat_proj_dropout": 0.0,
        "final_dropout": 0.0,
        "layerdrop": 0.0,
        "apply_spec_augment": False,  # `augment` says when, and from whose dice
    }


def _from_pretrained(
    directory: Path, family: Family, settings: Mapping[str, Any], *, is_base: bool
) -> nn.Module:
    transformers_logging.disable_progress_bar()
    # Its report of missing weights is checked here, and would only frighten in a job's log.
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        network, report = family.network.from_pretrained(
            directory,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=is_base,  # of another language's head; checked below
            **settings,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BadCheckpoint(
            "The model's weights are missing, damaged or not in safetensors form."
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    # A mismatch carries both shapes after the name.
    wrong = {*report["missing_keys"], *(str(key[0]) for key in report["mismatched_keys"])}
    wrong = {name for name in wrong if not (is_base and is_new(network, name))}
    if wrong:
        named = ", ".join(sorted(wrong)[:5])
        raise BadCheckpoint(f"The model's weights are incomplete or of another shape: {named}.")
    typed: nn.Module = network
    look_positions_up(typed)
    return typed
