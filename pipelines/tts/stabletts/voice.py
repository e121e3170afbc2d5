"""A voice as one file: weights, sizes, spelling and loudness, as safetensors with a JSON header.

Also opens what others wrote: the bare state dicts of the official release and of older workers, whose spelling
is not stored and has to be told. Knows no jobs and no waveforms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipelines.errors import BadCheckpoint
from pipelines.tts.stabletts.config import HOP_LENGTH, N_FFT, SAMPLE_RATE, ModelConfig
from pipelines.tts.stabletts.model import StableTTS
from pipelines.tts.stabletts.reference import Reference
from pipelines.tts.stabletts.symbols import SYMBOLS
from pipelines.tts.stabletts.text import FrontEnd, TextSettings
from pipelines.tts.stabletts.vocabulary import Vocabulary
from pipelines.tts.stabletts.weights import called, is_safetensors, load_model, read_state

FILE_NAME = "voice.safetensors"
HEADER = "voice"  # the entry of the safetensors header that carries our JSON
REFERENCE = "reference_mel"  # (m, t), beside the weights
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Voice:
    """Everything that speaking needs except a vocoder; older voices also lack a reference."""

    model: StableTTS
    vocabulary: Vocabulary
    facts: Mapping[str, Any] = field(
        default_factory=dict
    )  # loudness, pace, training settings: plain JSON
    reference: Reference | None = None  # the recording whose voice it speaks with

    def save(self, path: Path) -> None:
        """Write weights and description into one file."""
        description = {
            "format": FORMAT,
            "model": asdict(self.model.config),
            "mel": mel_settings(),
            "vocabulary": self.vocabulary.to_json(),
            "facts": dict(self.facts),
            "reference": self.reference.id if self.reference else None,
            "reference_why": self.reference.why if self.reference else None,
        }
        tensors = {
            name: tensor.detach().float().cpu().contiguous()
            for name, tensor in self.model.state_dict().items()
        }
        if self.reference is not None:
            tensors[REFERENCE] = self.reference.mel.float().cpu().contiguous()
        save_file(tensors, path, metadata={HEADER: json.dumps(description, ensure_ascii=False)})


def mel_settings() -> dict[str, int]:
    """Return what a vocoder must agree on, in samples."""
    return {"sample_rate": SAMPLE_RATE, "n_fft": N_FFT, "hop_length": HOP_LENGTH}


def load_voice(path: Path, settings: TextSettings | None = None) -> Voice:
    """Open a voice of ours, of the official release or of an older worker.

    Args:
        path: The file.
        settings: How text was spelt for a bare state dict; ours say it themselves.

    Raises:
        BadCheckpoint: The file is broken, unsafe, or not a voice.
    """
    state = read_state(path)
    mel_of_reference = state.pop(REFERENCE, None)
    description = _description(path) if is_safetensors(path) else None
    if description is None:
        model = load_model(state)
        spelling = settings or TextSettings(FrontEnd.UROMAN_ENGLISH)
        if model.config.n_vocab != len(SYMBOLS) or spelling.front_end is FrontEnd.CHARACTERS:
            raise BadCheckpoint(
                f"{called(path)} does not say how its {model.config.n_vocab} symbols are spelt"
            )
        return Voice(model, Vocabulary(SYMBOLS, spelling))
    try:
        vocabulary = Vocabulary.from_json(description["vocabulary"])
        config = ModelConfig(**description["model"])
        mel, facts = description["mel"], dict(description["facts"])
        reference = _reference(mel_of_reference, description, config)
    except (KeyError, TypeError, ValueError) as error:
        raise BadCheckpoint(f"the description in {called(path)} is damaged: {error}") from error
    if mel != mel_settings() or len(vocabulary) != config.n_vocab:
        raise BadCheckpoint(f"{called(path)} was trained with other settings: {mel}")
    return Voice(load_model(state, config), vocabulary, facts, reference)


def _reference(
    mel: Tensor | None, description: Mapping[str, Any], config: ModelConfig
) -> Reference | None:
    if mel is None:
        return None
    if mel.dim() != 2 or len(mel) != config.n_mels or not mel.shape[1]:
        raise ValueError(f"its reference has the shape {tuple(mel.shape)}")
    why = description.get("reference_why")  # voices of older versions do not say
    return Reference(mel, str(description.get("reference")), str(why or ""))


def _description(path: Path) -> dict[str, Any] | None:
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(HEADER)
    if text is None:
        return None
    try:
        description = json.loads(text)
    except ValueError as error:
        raise BadCheckpoint(f"the description in {called(path)} is damaged: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise BadCheckpoint(f"{called(path)} was written by a newer version")
    return description
