"""Writes a Whisper model as whisper.cpp reads it, from a directory for CTranslate2: the same numbers by other names.

    magic, sizes, mel filters, the bytes of every token, then each tensor with its name

Matrices are half floats as in the source; vectors and positions stay whole, as the program expects.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.whisper_weights import openai_weights

MAGIC = 0x67676D6C
HALF, WHOLE = 1, 0
SIZES = (
    "n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer", "n_text_ctx",
    "n_text_state", "n_text_head", "n_text_layer", "n_mels",
)  # fmt: skip
END_OF_TEXT = "<|endoftext|>"


def write_ggml(model: Path, target: Path) -> Path:
    """Convert a model; returns the file."""
    sizes, weights = openai_weights(model)
    with target.open("wb") as file:
        file.write(struct.pack("<i", MAGIC))
        file.write(struct.pack("<11i", *(sizes[name] for name in SIZES), HALF))
        filters = FeatureExtractor(feature_size=sizes["n_mels"]).mel_filters.astype("<f4")
        file.write(struct.pack("<2i", *filters.shape) + filters.tobytes())
        tokens = list(_tokens(model / "tokenizer.json"))
        file.write(struct.pack("<i", len(tokens)))
        for token in tokens:
            file.write(struct.pack("<i", len(token)) + token)
        for name, value in weights:
            _write_tensor(file, name, value)
    return target


def _write_tensor(file: BinaryIO, name: str, value: NDArray[np.float32]) -> None:
    if name.startswith("encoder.conv") and name.endswith(".bias"):
        value = value.reshape(-1, 1)
    is_whole = value.ndim < 2 or name.endswith((".bias", "positional_embedding"))
    label = name.encode()
    file.write(struct.pack("<3i", value.ndim, len(label), WHOLE if is_whole else HALF))
    file.write(struct.pack(f"<{value.ndim}i", *reversed(value.shape)) + label)
    file.write(value.astype("<f4" if is_whole else "<f2").tobytes())


def _tokens(path: Path) -> Iterator[bytes]:
    """The bytes of every token of text; in the file each byte is a printable character."""
    tokenizer = Tokenizer.from_file(str(path))
    byte_of = _bytes_by_character()
    for number in range(tokenizer.token_to_id(END_OF_TEXT)):
        yield bytes(byte_of[character] for character in tokenizer.id_to_token(number))


def _bytes_by_character() -> dict[str, int]:
    """Printable bytes stand for themselves, the others for the characters from 256 on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }
