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


def random_weights() -> tuple[StableTTS, Vocos]:
    """Networks of the published size that do some work: gates open, every token equally long."""
    torch.manual_seed(0)
    model = StableTTS(ModelConfig())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "adaLN_modulation.2" in name:
                parameter.normal_(0.0, 0.02)
        model.dp.proj.weight.zero_()
        assert model.dp.proj.bias is not None
        model.dp.proj.bias.fill_(math.log(TOKEN_FRAMES - 0.1))
    return model.eval(), Vocos(VocosConfig()).eval()


def _load(path: Path) -> tuple[Tensor, int]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T), rate
