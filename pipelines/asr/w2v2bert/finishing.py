"""From the best epoch to the model that is published: weights, how to read, how to correct.

    best epoch ─► emissions of the held-out verses ─► `tuning` ─► text corrector, if it helps
                                                      └─► one directory with everything

A corrector comes from pairs that the recogniser was not trained on (`corrector.proof`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pipelines.asr.corrector.kinds import CorrectorKind, learners
from pipelines.asr.corrector.proof import Material, Proof, prove
from pipelines.asr.w2v2bert import model
from pipelines.asr.w2v2bert.dataset import Example, FeatureFile
from pipelines.asr.w2v2bert.held_out import HeldOutVerse
from pipelines.asr.w2v2bert.listening import Listener, Piece
from pipelines.asr.w2v2bert.tuning import HeldOut, Tuned, tune
from pipelines.training.checkpoint import MANIFEST

MODEL = "model"
"""Directory below a training's home."""


@dataclass(frozen=True, slots=True)
class HeldOutClips:
    """Clips that were not trained on, with where their features are."""

    features: FeatureFile
    examples: Sequence[Example]


@dataclass(frozen=True, slots=True)
class Finished:
    """A directory ready for `transcribe` and `archive`, and what was measured on the way."""

    directory: Path
    tuned: Tuned
    proof: Proof
    held_out: tuple[HeldOutVerse, ...]


def finish(
    best: Path,
    clips: HeldOutClips,
    texts: Sequence[str],
    processor: tuple[torch.device, torch.dtype],
    poll: Callable[[], None],
    *,
    corrector: CorrectorKind | None,
) -> Finished:
    """Decide on the held-out verses; the directory lies beside the best epoch's."""
    device, dtype = processor
    recogniser = model.load(best)
    recogniser.network.to(device, dtype).eval()
    listener = Listener(recogniser)
    recordings = [(Piece(clips.features.read(example)),) for example in clips.examples]
    said = [example.text for example in clips.examples]
    heard = HeldOut(listener.hear(recordings, poll), said)
    vocabulary = recogniser.vocabulary
    tuned = tune(vocabulary, recogniser.output_s, heard, texts, poll)
    proof = Proof(None)
    if corrector:
        pairs = [
            (reading.text, example.written)
            for reading, example in zip(tuned.readings, clips.examples, strict=True)
        ]
        material = Material(pairs, texts, lambda text: vocabulary.decode(vocabulary.encode(text)))
        proof = prove(material, poll, learners=learners(corrector))
    directory = best.parent / MODEL
    _copy(best, directory)
    if clips.examples:
        tuned.reader.save(directory)
    if proof.corrector:
        proof.corrector.save(directory)
    verses = tuple(
        HeldOutVerse(example.id, example.book, example.text, reading.text, reading.confidence)
        for reading, example in zip(tuned.readings, clips.examples, strict=True)
    )
    return Finished(directory, tuned, proof, verses)


def _copy(best: Path, directory: Path) -> None:
    """Link, not copy: the weights of a large model are gigabytes, and nobody writes into them."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(best, directory, copy_function=os.link, ignore=shutil.ignore_patterns(MANIFEST))
