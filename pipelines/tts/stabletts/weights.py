"""Weights from files, without running anything that is in them.

Reads bare state dicts (the official releases, older workers' `best_model.pt`) and safetensors, infers the sizes
from the shapes, and loads strictly. Does not know where files come from.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipelines.errors import BadCheckpoint
from pipelines.tts.stabletts.config import N_FFT, FireflyConfig, ModelConfig, VocosConfig
from pipelines.tts.stabletts.firefly import FireflyGAN
from pipelines.tts.stabletts.model import StableTTS
from pipelines.tts.stabletts.vocos import Vocos

StateDict = Mapping[str, Tensor]
M = TypeVar("M", bound=nn.Module)
_UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    SafetensorError,
)
_HASH = re.compile(r"[0-9a-f]{40,}")
HEAD_WIDTH = 64  # of the published weights; shapes do not tell the number of heads


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a file of named tensors; its content decides the format, not its name.

    Raises:
        BadCheckpoint: The file is no plain dictionary of tensors, or cannot be read.
    """
    try:
        if is_safetensors(path):
            return dict(load_file(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of odd pickles, which are refused anyway
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # The library advises to load it without this protection: no advice for a user.
        raise BadCheckpoint(
            f"{called(path)} is not a file of weights, or holds code, which is never run"
        ) from error
    except _UNREADABLE as error:
        raise BadCheckpoint(
            f"{called(path)} is not a file of weights: {_first_line(error)}"
        ) from error
    if not isinstance(state, dict) or not state:
        raise BadCheckpoint(f"{called(path)} holds no state dict")
    if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise BadCheckpoint(f"{called(path)} holds more than named tensors")
    return state


def called(path: Path) -> str:
    """Name a file as a user knows it; files of a store by content have no such name."""
    return "the model" if _HASH.fullmatch(path.stem) else path.name


def is_safetensors(path: Path) -> bool:
    """Tell by the first bytes: a length, then the brace of a JSON header."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def model_config(state: StateDict, n_heads: int | None = None) -> ModelConfig:
    """Infer the sizes of a text-to-mel state dict.

    Args:
        state: Names and tensors.
        n_heads: Attention heads; by default one per 64 channels, as published.

    Raises:
        BadCheckpoint: These are not StableTTS v1.1 weights.
    """
    try:
        n_vocab, hidden = state["encoder.emb.weight"].shape
        filters, _, kernel = state["encoder.encoder.0.mlp.conv_1.weight"].shape
        return ModelConfig(
            n_vocab=n_vocab,
            n_mels=state["fake_content"].shape[1],
            hidden_channels=hidden,
            filter_channels=filters,
            n_heads=n_heads or max(1, hidden // HEAD_WIDTH),
            n_enc_layers=_count(state, r"encoder\.encoder\.(\d+)\."),
            n_dec_layers=_count(state, r"decoder\.estimator\.blocks\.(\d+)\."),
            kernel_size=kernel,
            gin_channels=state["fake_speaker"].shape[1],
        )
    except (KeyError, ValueError, IndexError) as error:
        raise BadCheckpoint(f"not StableTTS v1.1 weights: {_first_line(error)}") from error


def load_model(state: StateDict, config: ModelConfig | None = None) -> StableTTS:
    """Build a text-to-mel model from weights, strictly, in evaluation mode."""
    model = StableTTS(config or model_config(state))
    return _load(model, state).eval()


def load_vocoder(state: StateDict) -> Vocos | FireflyGAN:
    """Build the vocoder that these weights belong to, strictly, in evaluation mode.

    Raises:
        BadCheckpoint: The weights are neither of Vocos nor of firefly-gan.
    """
    if "backbone.embed.weight" in state:
        window = {"head.istft.window": torch.hann_window(N_FFT), **state}
        return _load(Vocos(vocos_config(state)), window).eval()
    if "backbone.downsample_layers.0.0.weight" in state:
        folded = fold_weight_norm(state)
        return _load(FireflyGAN(firefly_config(folded)), folded).eval()
    raise BadCheckpoint("neither Vocos nor firefly-gan weights")


def vocos_config(state: StateDict) -> VocosConfig:
    """Infer the sizes of a Vocos state dict."""
    dim, n_mels, _ = state["backbone.embed.weight"].shape
    layers = _count(state, r"backbone\.convnext\.(\d+)\.")
    inner = state["backbone.convnext.0.pwconv1.weight"].shape[0]
    return VocosConfig(n_mels=n_mels, dim=dim, intermediate_dim=inner, num_layers=layers)


def firefly_config(state: StateDict) -> FireflyConfig:
    """Infer the sizes of a folded firefly-gan state dict."""
    stages = range(_count(state, r"backbone\.stages\.(\d+)\."))
    ups = range(_count(state, r"head\.ups\.(\d+)\."))
    stacks = range(_count(state, r"head\.resblocks\.0\.blocks\.(\d+)\."))
    try:
        return FireflyConfig(
            n_mels=state["backbone.downsample_layers.0.0.weight"].shape[1],
            depths=tuple(_count(state, rf"backbone\.stages\.{i}\.(\d+)\.") for i in stages),
            dims=tuple(len(state[f"backbone.stages.{i}.0.gamma"]) for i in stages),
            initial_channels=state["head.conv_pre.weight"].shape[0],
            upsample_kernels=tuple(state[f"head.ups.{i}.weight"].shape[2] for i in ups),
            resblock_kernels=tuple(
                state[f"head.resblocks.0.blocks.{i}.convs1.0.weight"].shape[2] for i in stacks
            ),
        )
    except KeyError as error:
        raise BadCheckpoint(f"not firefly-gan weights: {error} is missing") from error


# Weight norm as PyTorch writes it today and wrote it before 2.0: gain and direction.
_GAINS = {
    ".parametrizations.weight.original0": ".parametrizations.weight.original1",
    ".weight_g": ".weight_v",
}


def fold_weight_norm(state: StateDict) -> dict[str, Tensor]:
    """Replace every gain and direction by the weight g · v / ‖v‖ they stand for."""
    folded = dict(state)
    for name in state:
        for gain, direction in _GAINS.items():
            if not name.endswith(gain):
                continue
            stem = name.removesuffix(gain)
            if stem + direction not in folded:
                raise BadCheckpoint(f"{stem} has a gain but no direction")
            g, v = folded.pop(name), folded.pop(stem + direction)
            folded[stem + ".weight"] = g * v / v.flatten(1).norm(dim=1).view(g.shape)
    return folded


def _count(state: StateDict, pattern: str) -> int:
    """Return how many numbered children match `pattern` at the start of a name."""
    found = {int(match[1]) for name in state if (match := re.match(pattern, name))}
    return max(found, default=-1) + 1


def _load(module: M, state: StateDict) -> M:
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        name = type(module).__name__
        raise BadCheckpoint(f"these are not weights of {name}: {_summary(error)}") from error
    return module


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def _summary(error: RuntimeError) -> str:
    """Return the first two complaints of a strict load, on one line."""
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    return " ".join(lines[:2])[:400]
