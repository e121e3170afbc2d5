"""Kinds of base models that a recogniser can grow from, by the `model_type` of their `config.json`.

wav2vec2-bert   hears mel frames; gets an adapter that halves the frame rate, and a head
wav2vec2        hears waves (wav2vec 2.0, XLS-R); gets a head, its convolutions stay as they are
wav2vec2 with `adapter_attn_dim` (MMS)   all stays as it is but small adapters and the head
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import Wav2Vec2BertForCTC, Wav2Vec2ForCTC

HEAD = "lm_head."
_LANGUAGE_ADAPTER = ".adapter_layer."


@dataclass(frozen=True, slots=True)
class Family:
    """What is special about one kind."""

    network: Any
    """The class of `transformers` with a CTC head."""
    new_layers: tuple[str, ...]
    """Beginnings of the names of weights that a base does not have."""
    frozen: tuple[str, ...] = ()
    """Beginnings of the names of weights that never learn."""
    gets_adapter: bool = False
    """Whether an adapter that halves the frame rate is put on top."""
    hears_waves: bool = False


FAMILIES = {
    "wav2vec2-bert": Family(
        Wav2Vec2BertForCTC, ("wav2vec2_bert.adapter.", HEAD), gets_adapter=True
    ),
    "wav2vec2": Family(
        Wav2Vec2ForCTC,
        (HEAD, "wav2vec2.masked_spec_embed"),
        frozen=("wav2vec2.feature_extractor.",),
        hears_waves=True,
    ),
}


def family_in(directory: Path) -> Family | None:
    """The family of a model's directory; None for anything else."""
    try:
        document: Any = json.loads((directory / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    kind = document.get("model_type") if isinstance(document, dict) else None
    return FAMILIES.get(kind) if isinstance(kind, str) else None


def family_of(network: Any) -> Family:
    """The family of a loaded network."""
    return FAMILIES[str(network.config.model_type)]


def has_language_adapters(network: Any) -> bool:
    """Whether it is one of MMS: a large model with small parts per language."""
    return getattr(network.config, "adapter_attn_dim", None) is not None


def is_new(network: Any, name: str) -> bool:
    """Whether a weight belongs to what the project's own language brings."""
    if has_language_adapters(network) and _LANGUAGE_ADAPTER in name:
        return True
    return name.startswith(family_of(network).new_layers)


def never_learns(network: Any, name: str) -> bool:
    """Whether a weight stays as it came."""
    if has_language_adapters(network):
        return not is_new(network, name)
    return name.startswith(family_of(network).frozen or ("\0",))
