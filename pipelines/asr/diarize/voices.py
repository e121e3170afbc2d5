"""A voice as a vector: the generalised end-to-end speaker encoder, with Resemblyzer's weights.

Written from the network's description (Wan et al., 2018: three LSTM layers, a projection, length one);
only the weights (Apache-2.0) come from the package `resemblyzer`, or from a file of the same form.
Knows stretches of sound, not recordings. Axis letters: b windows, s samples, t frames, m mel bands.
"""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipelines.asr.diarize.clusters import Vectors
from pipelines.audio.mel import slaney_filters
from pipelines.errors import BadCheckpoint, ModelNotFound

SAMPLE_RATE_HZ = 16_000
WINDOW_FRAMES = 160
HOP = 160
N_FFT = 400
WINDOW_SAMPLES = WINDOW_FRAMES * HOP
"""1.6 s: what the encoder was trained on."""
_MELS, _WIDTH, _LAYERS = 40, 256, 3
_BATCH = 64


class VoiceEncoder(nn.Module):
    """Mel frames of 1.6 s in, a vector of length one out."""

    def __init__(self) -> None:
        """Random weights."""
        super().__init__()
        self.lstm = nn.LSTM(_MELS, _WIDTH, _LAYERS, batch_first=True)
        self.linear = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, mels: Tensor) -> Tensor:
        """Encode `mels (b, t, m)` as `(b, 256)`; no value is negative."""
        _, (hidden, _) = self.lstm(mels)
        return nn.functional.normalize(self.linear(hidden[-1]).relu(), dim=-1)

    @torch.inference_mode()
    def embed(self, windows: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Vectors:
        """Encode windows `(b, s)` of 1.6 s at 16 kHz as `(b, 256)`."""
        device = self.linear.weight.device
        parts = [
            self(_mel(torch.from_numpy(windows[at : at + _BATCH]).to(device))).cpu()
            for at in range(0, len(windows), _BATCH)
        ]
        return np.concatenate(parts).astype(np.float64) if parts else np.zeros((0, _WIDTH))


def load(path: Path | None = None) -> VoiceEncoder:
    """Load weights, from a file or from the package.

    Raises:
        ModelNotFound: neither is there.
        BadCheckpoint: the file holds something else, or code.
    """
    path = path or _packaged()
    encoder = VoiceEncoder()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        wanted = {name: state[name] for name in encoder.state_dict()}
        encoder.load_state_dict(wanted)
    except (OSError, EOFError) as error:
        raise ModelNotFound(f"no speaker encoder at {path}: {error}") from error
    except (KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
        raise BadCheckpoint(f"{path.name} holds no speaker encoder") from error
    return encoder.eval()


def _packaged() -> Path:
    package = importlib.util.find_spec("resemblyzer")
    if package is None or not package.submodule_search_locations:
        raise ModelNotFound(
            "no speaker encoder: pip install --no-deps resemblyzer, or name a file of its form"
        )
    return Path(package.submodule_search_locations[0]) / "pretrained.pt"


def _mel(samples: Tensor) -> Tensor:
    """Power mel frames `(b, t, m)`, not logarithmic: what these weights expect."""
    window = torch.hann_window(N_FFT, device=samples.device)
    spectrum = torch.stft(
        samples, N_FFT, HOP, window=window, center=True, pad_mode="constant", return_complex=True
    )
    power = spectrum.abs().square()
    mel = slaney_filters(_MELS, N_FFT, SAMPLE_RATE_HZ).to(samples.device) @ power
    return mel[..., :WINDOW_FRAMES].transpose(1, 2)
