"""From the best epoch to the model that is published: weights, and how to read with them.

best epoch ─► emissions of the held-out verses ─► `tuning` ─► weights + decoding, one directory
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from pipelines.asr.w2v2bert import model
from pipelines.asr.w2v2bert.dataset import Example, FeatureFile
from pipelines.asr.w2v2bert.listening import Listener, Piece
from pipelines.asr.w2v2bert.tuning import HeldOut, Tuned, tune
from pipelines.training.checkpoint import MANIFEST

MODEL = "model"
"""Directory below a training's home."""


def finish(
    best: Path,
    features: FeatureFile,
    held_out: Sequence[Example],
    texts: Iterable[str],
    processor: tuple[torch.device, torch.dtype],
    poll: Callable[[], None],
) -> tuple[Path, Tuned]:
    """Tune on the held-out verses; returns the finished model's directory, beside the best epoch's."""
    device, dtype = processor
    recogniser = model.load(best)
    recogniser.network.to(device, dtype).eval()
    listener = Listener(recogniser, device, dtype)
    recordings = [(Piece(features.read(example)),) for example in held_out]
    heard = HeldOut(listener.hear(recordings, poll), [example.text for example in held_out])
    tuned = tune(recogniser.vocabulary, recogniser.output_s, heard, texts, poll)
    directory = best.parent / MODEL
    _copy(best, directory)
    if held_out:
        tuned.reader.save(directory)
    return directory, tuned


def _copy(best: Path, directory: Path) -> None:
    """Link, not copy: the weights of a large model are gigabytes, and nobody writes into them."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(best, directory, copy_function=os.link, ignore=shutil.ignore_patterns(MANIFEST))
