"""The original StableTTS, imported from a checkout that is no part of this project, with our random weights in it.

The checkout's modules have top-level names (`models`, `config`, …) and want `torchdiffeq`, `numba` and `torchaudio`
to be importable. Only the benchmark uses this.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor, nn

from pipelines.tts.stabletts.config import ModelConfig, VocosConfig
from pipelines.tts.stabletts.model import StableTTS
from pipelines.tts.stabletts.vocos import Vocos

TOKEN_FRAMES = 3
"""How long the random weights make every token."""


@dataclass(frozen=True, slots=True)
class Original:
    """What the checkout offers."""

    modules: Mapping[str, Any]

    @classmethod
    def at(cls, path: Path) -> Original:
        """Import a checkout; no module of ours has a name of theirs."""
        sys.path.insert(0, str(path))
        names = ("models.model", "vocoders.vocos.models.model", "config", "monotonic_align")
        modules = {name: importlib.import_module(name) for name in names}
        # Recent versions of torchaudio read files only with yet another library.
        audio = importlib.import_module("utils.audio")
        audio.torchaudio.load = _load
        return cls({**modules, "audio": audio})

    def model(self, weights: StableTTS) -> nn.Module:
        """The text-to-mel network with the weights of ours."""
        sizes = self.modules["config"].ModelConfig()
        n_mels = weights.config.n_mels
        model: nn.Module = self.modules["models.model"].StableTTS(
            weights.config.n_vocab, n_mels, **vars(sizes)
        )
        model.load_state_dict(weights.state_dict(), strict=True)
        return model

    def vocoder(self, weights: Vocos) -> nn.Module:
        """The vocoder with the weights of ours."""
        config = self.modules["config"]
        vocoder: nn.Module = self.modules["vocoders.vocos.models.model"].Vocos(
            config.VocosConfig(), config.MelConfig()
        )
        vocoder.load_state_dict(weights.state_dict(), strict=True)
        return vocoder.eval()

    def search(self, scores: Tensor, mask: Tensor) -> Tensor:
        """The alignment search: scores and mask `(b, t, x)` to a path of the same shape."""
        path: Tensor = self.modules["monotonic_align"].maximum_path(scores, mask)
        return path

    def preprocessor(self) -> Any:
        """A function from a recording's path to its mel `(1, m, t)`."""
        audio, config = self.modules["audio"], self.modules["config"].MelConfig()
        log_mel = audio.LogMelSpectrogram(**vars(config))
        return lambda path: log_mel(audio.load_and_resample_audio(path, config.sample_rate))


def random_weights(roughness: float = 1.0) -> tuple[StableTTS, Vocos]:
    """Networks of the published size that do some work: gates open, every token equally long.

    Args:
        roughness: What the velocity is multiplied by. An adaptive solver needs fewer steps in a smooth field.
    """
    torch.manual_seed(0)
    model = StableTTS(ModelConfig())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "adaLN_modulation.2" in name:
                parameter.normal_(0.0, 0.02)
        model.dp.proj.weight.zero_()
        assert model.dp.proj.bias is not None
        model.dp.proj.bias.fill_(math.log(TOKEN_FRAMES - 0.1))
        for parameter in model.decoder.estimator.final_proj.parameters():
            parameter.mul_(roughness)
    return model.eval(), Vocos(VocosConfig()).eval()


def preprocess(job: tuple[Path, Path, Path]) -> None:
    """Work of one of the original's processes: a recording's mel into a file.

    Args:
        job: The checkout, the recording, the file.
    """
    checkout, recording, mel_path = job
    with torch.inference_mode():
        torch.save(_preprocessor(checkout)(recording).squeeze(0), mel_path)


@cache
def _preprocessor(checkout: Path) -> Any:
    torch.set_num_threads(1)  # as the original's program does
    return Original.at(checkout).preprocessor()


def _load(path: Path) -> tuple[Tensor, int]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T), rate
