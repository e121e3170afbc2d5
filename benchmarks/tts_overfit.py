"""Can the synthesis learn to speak at all? A language of tones, one per letter, learnt on a CPU in minutes.

    python -m benchmarks.tts_overfit [--clips 32] [--epochs 160] [--seed 0]

Writes clips, trains the tiny voice from scratch, lets it speak the same texts, and reads the letters back from the
generated mels by comparing every frame with the mel of each pure tone. It samples as jobs do, by the defaults of
`SamplingOptions`. Prints one line of JSON; exits 1 below 95 %.
Takes about two minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.progress import ignore_progress
from pipelines.text.metrics import error_rates
from pipelines.training.clips import Clip
from pipelines.tts.stabletts import settings
from pipelines.tts.stabletts.config import SAMPLE_RATE
from pipelines.tts.stabletts.dataset import LOUDNESS_DB
from pipelines.tts.stabletts.flow import SamplingOptions
from pipelines.tts.stabletts.mel import log_mel
from pipelines.tts.stabletts.train import TrainingData, train
from pipelines.tts.stabletts.voice import Voice, load_voice

TONES_HZ = dict(zip("abdeghik", np.geomspace(300, 4_000, 8).tolist(), strict=True))
TONE_S, GAP_S = 0.10, 0.05
SHORTEST = 3  # frames of one letter that count as heard
GOOD = 0.95


def sing(text: str) -> NDArray[np.float32]:
    """Return the waveform of a text: a faded tone per letter, silence between."""
    t = np.arange(round(TONE_S * SAMPLE_RATE)) / SAMPLE_RATE
    fade = np.minimum(1, np.minimum(t, t[-1] - t) / 0.01)
    gap = np.zeros(round(GAP_S * SAMPLE_RATE))
    parts = [gap]
    for letter in text:
        parts += [0.3 * fade * np.sin(2 * np.pi * TONES_HZ[letter] * t), gap]
    return np.concatenate(parts).astype(np.float32)


def write_clips(directory: Path, count: int, seed: int = 0) -> list[Clip]:
    """Write recordings of random words."""
    dice = random.Random(seed)
    clips = []
    for number in range(count):
        text = "".join(dice.choices(sorted(TONES_HZ), k=dice.randint(5, 10)))
        path = directory / f"{number}.wav"
        soundfile.write(path, sing(text), SAMPLE_RATE)
        clips.append(Clip(f"TON 1:{number + 1}", path, text))
    return clips


def listen(mel: Tensor) -> str:
    """Read letters from a mel `(m, t)`: the closest tone of each frame, runs joined."""
    names = ["", *TONES_HZ]
    templates = torch.stack([torch.full((mel.shape[0],), -9.0), *map(_template, TONES_HZ)])
    nearest = torch.cdist(mel.T, templates).argmin(dim=1).tolist()
    runs = ((names[index], len(list(frames))) for index, frames in groupby(nearest))
    return "".join(letter for letter, length in runs if length >= SHORTEST)


@torch.inference_mode()
def speak(voice: Voice, texts: Sequence[str], reference: Tensor) -> list[Tensor]:
    """Generate the mels `(m, t)` of texts in the voice of `reference (m, r)`."""
    c = voice.model.voice(reference.unsqueeze(0))
    mels = []
    for number, text in enumerate(texts):
        ids = torch.tensor([voice.vocabulary.encode(text).ids])
        prior, _, _ = voice.model.plan(ids, torch.tensor([ids.shape[1]]), c)
        noise = torch.randn(prior.mu.shape, generator=torch.Generator().manual_seed(number))
        mels.append(voice.model.render(prior, noise, SamplingOptions())[0])
    return mels


def run(home: Path, clips: int, epochs: int, seed: int = 0) -> dict[str, float]:
    """Train on tones and return what was heard, with the time it took."""
    started = time.perf_counter()
    config = replace(settings.tiny(), epochs=epochs, seed=seed)
    corpus = write_clips(home, clips, seed)
    data = TrainingData(corpus, home / "run", home / "mels")
    result = train(config, data, device="cpu", progress=ignore_progress)
    trained_s = time.perf_counter() - started
    voice = load_voice(result.voice_path)
    texts = [clip.text for clip in corpus]
    heard = [listen(mel) for mel in speak(voice, texts, _mel(sing(texts[0])))]
    fresh = ["".join(random.Random(i).choices(sorted(TONES_HZ), k=7)) for i in range(20)]
    heard_fresh = [listen(mel) for mel in speak(voice, fresh, _mel(sing(texts[0])))]
    return {
        "letters_right": 1 - error_rates(texts, heard).cer,
        "letters_right_in_new_words": 1 - error_rates(fresh, heard_fresh).cer,
        "letters_right_in_recordings": 1
        - error_rates(texts, [listen(_mel(sing(text))) for text in texts]).cer,
        "epochs": result.epochs_completed,
        "training_s": round(trained_s, 1),
        "total_s": round(time.perf_counter() - started, 1),
        "processor_s": round(time.process_time(), 1),
    }


def _template(letter: str) -> Tensor:
    """Return the mel of a letter's steady middle, `(m)`."""
    mel = _mel(sing(letter))
    return mel[:, mel.shape[1] // 2]


def _mel(waveform: NDArray[np.float32]) -> Tensor:
    """Analyse at the loudness that training brings every clip to."""
    level = 10 * np.log10(np.square(waveform, dtype=np.float64).mean())
    return log_mel(torch.from_numpy(waveform * np.float32(10 ** ((LOUDNESS_DB - level) / 20))))


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0, help="of the words and of the training")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # operations this small lose more to waiting than they gain
    with tempfile.TemporaryDirectory() as home:
        result = run(Path(home), arguments.clips, arguments.epochs, arguments.seed)
    print(json.dumps(result))
    return 0 if result["letters_right"] >= GOOD else 1


if __name__ == "__main__":
    raise SystemExit(main())
