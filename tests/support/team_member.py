"""One process of a team that trains a small model; started by torchrun, or called for a team of one.

torchrun --standalone --nproc-per-node 2 tests/support/team_member.py tts HOME [--dies]
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from support.sound import tone
from support.speech import spoken_clips

from pipelines.training.clips import Clip
from pipelines.tts.stabletts import settings as tts_settings
from pipelines.tts.stabletts import train as tts
from pipelines.tts.stabletts.config import SAMPLE_RATE, ModelConfig

EPOCHS = 3
PACE = {
    "epochs": EPOCHS,
    "accumulate": 2,
    "evaluate_every_epochs": 1,
    "checkpoint_every_epochs": 1,
}
NETWORK = ModelConfig(
    hidden_channels=16, filter_channels=24, n_heads=2, n_enc_layers=1, n_dec_layers=2,
    gin_channels=16,
)  # fmt: skip


TEXTS = ("aba", "bab", "ab", "ba", "abb", "baa")


def train_voice(home: Path, progress: object, texts: tuple[str, ...] = TEXTS) -> Path:
    """Train a voice on sung words; returns its weights."""
    config = replace(tts_settings.tiny(), batch_s=2.0, model=NETWORK, **PACE)
    home.mkdir(parents=True, exist_ok=True)
    clips = []
    for number, text in enumerate(texts):
        path = home / f"{number}-{os.environ.get('RANK', '0')}.wav"
        parts = [tone(0.25, SAMPLE_RATE, 400.0 if letter == "a" else 900.0) for letter in text]
        soundfile.write(path, np.concatenate(parts), SAMPLE_RATE)
        clips.append(Clip(f"GEN 1:{number + 1}", path, text, "GEN 1"))
    data = tts.TrainingData(clips, home / "run", home / "mels")
    return tts.train(config, data, device="cpu", progress=progress).voice_path


def train_recogniser(home: Path, progress: object) -> Path:
    """Train a recogniser on recorded speech; returns its weights."""
    # Here, so that the processes of a voice start without transformers.
    from pipelines.asr.w2v2bert import config as asr_settings
    from pipelines.asr.w2v2bert import train as asr

    config = replace(asr_settings.tiny(), batch_s=4.0, **PACE)
    clips = [Clip(c.path.stem, c.path, c.text) for c in spoken_clips(longest_s=4.0)][:6]
    data = asr.TrainingData(clips, home / "run")
    result = asr.train(config, data, device="cpu", progress=progress)
    return result.model_directory / "model.safetensors"


TRAININGS = {"tts": train_voice, "asr": train_recogniser}


def main() -> None:
    """Train; with `--dies` the whole process goes away once, in the second epoch."""
    kind, home = sys.argv[1], Path(sys.argv[2])
    died = home / "died"

    def progress(message: str, *, epoch: int | None = None, fraction: float | None = None) -> None:
        if "--dies" in sys.argv and epoch == 1 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    TRAININGS[kind](home, progress)


if __name__ == "__main__":
    main()
