"""The numbers of the original StableTTS, and a model that carries its tiny weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipelines.tts.stabletts.config import ModelConfig
from pipelines.tts.stabletts.model import StableTTS

DATA = Path(__file__).parents[1] / "data" / "stabletts-parity"


@cache
def settings() -> dict[str, Any]:
    """Return the constructor values and run settings of the data."""
    return json.loads((DATA / "config.json").read_text(encoding="utf-8"))


@cache
def text_cases() -> dict[str, Any]:
    """Return texts with their phones and ids."""
    return json.loads((DATA / "text.json").read_text(encoding="utf-8"))


@cache
def _arrays() -> dict[str, np.ndarray]:
    with np.load(DATA / "fixture.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def names(prefix: str) -> list[str]:
    """Every array whose name starts with `prefix`, without it."""
    return [name.removeprefix(prefix) for name in _arrays() if name.startswith(prefix)]


def array(name: str) -> Tensor:
    """Return one stored array."""
    return torch.from_numpy(_arrays()[name].copy())


def group(prefix: str) -> dict[str, Tensor]:
    """The arrays below `prefix/` by the rest of their names."""
    return {name: array(f"{prefix}/{name}") for name in names(f"{prefix}/")}


def config() -> ModelConfig:
    """Return the sizes of the tiny model."""
    known = settings()
    return ModelConfig(n_vocab=known["n_vocab"], n_mels=known["n_mels"], **known["model"])


def model(*, leaks_padding: bool = False) -> StableTTS:
    """The tiny model in eval mode; `leaks_padding` repeats the original's padded batches."""
    built = StableTTS(config(), leaks_padding=leaks_padding)
    built.load_state_dict(group("sd"), strict=True)
    return built.eval()


def close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Compare shapes exactly and values within an absolute tolerance."""
    assert actual.shape == expected.shape
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)
