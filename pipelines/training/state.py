"""Everything a training run needs to go on as if it had never stopped, as safetensors and JSON.

Weights, optimiser moments, random number generators (Python, numpy, torch, every GPU) and plain
facts (epoch, step, best score). No pickle in either direction: a state may come from a repository.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipelines.errors import BadCheckpoint

WEIGHTS, OPTIMIZER, GENERATORS, FACTS = (
    "model.safetensors",
    "optimizer.safetensors",
    "generators.safetensors",
    "state.json",
)


def save_state(
    directory: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    facts: Mapping[str, Any],
) -> None:
    """Write a state into an empty directory; `facts` must be plain JSON values."""
    save_file(_detached(model.state_dict()), directory / WEIGHTS)
    moments, scalars = _split_optimizer(optimizer)
    save_file(moments, directory / OPTIMIZER)
    generators, python_state = _generator_states()
    save_file(generators, directory / GENERATORS)
    document = {"facts": dict(facts), "optimizer": scalars, "generators": python_state}
    (directory / FACTS).write_text(json.dumps(document), "utf-8")


def load_state(
    directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Restore a state in place and return its facts.

    Raises:
        BadCheckpoint: the files do not fit the model or the optimiser.
    """
    try:
        document = json.loads((directory / FACTS).read_text("utf-8"))
        model.load_state_dict(load_file(directory / WEIGHTS))
        moments = load_file(directory / OPTIMIZER)
        optimizer.load_state_dict(_join_optimizer(moments, document["optimizer"]))
        _restore_generators(load_file(directory / GENERATORS), document["generators"])
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise BadCheckpoint(
            f"The training state {directory.name} does not fit: {error}."
        ) from error
    return dict(document["facts"])


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _split_optimizer(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Moments by "parameter.name", and the groups' plain settings."""
    state = optimizer.state_dict()
    moments = {
        f"{parameter}.{name}": value.detach().cpu().contiguous()
        for parameter, values in state["state"].items()
        for name, value in values.items()
    }
    return moments, {"param_groups": state["param_groups"]}


def _join_optimizer(moments: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        parameter, name = key.split(".", 1)
        state.setdefault(int(parameter), {})[name] = value
    return {"state": state, "param_groups": scalars["param_groups"]}


def _generator_states() -> tuple[dict[str, Tensor], list[Any]]:
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
    }
    if torch.cuda.is_available():
        states = torch.cuda.get_rng_state_all()
        tensors.update({f"cuda.{index}": state for index, state in enumerate(states)})
    return tensors, [version, list(words), gauss, int(position), int(has_gauss), float(cached)]


def _restore_generators(tensors: Mapping[str, Tensor], plain: list[Any]) -> None:
    version, words, gauss, position, has_gauss, cached = plain
    random.setstate((version, tuple(words), gauss))
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, position, has_gauss, cached))
    torch.set_rng_state(tensors["torch"])
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            if f"cuda.{index}" in tensors:
                torch.cuda.set_rng_state(tensors[f"cuda.{index}"], index)
