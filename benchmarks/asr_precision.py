"""What bfloat16 costs a recogniser that has learnt something: errors of one model in both number formats."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.spoken_language import Language, record
from pipelines.asr.w2v2bert.config import tiny
from pipelines.asr.w2v2bert.train import TrainingData, train
from pipelines.asr.w2v2bert.transcribe import Recording, Transcriber
from pipelines.progress import ignore_progress
from pipelines.text.metrics import spoken_error_rates
from pipelines.training.clips import Clip

LEARNT, JUDGED, EPOCHS = 120, 60, 25


def cer_by_precision() -> tuple[float, float]:
    """Characters wrong on sentences it has not seen, in float32 and in bfloat16."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        sentences = Language().sentences(LEARNT + JUDGED, seed=5)
        texts = [sentence.text for sentence in sentences]
        paths = record(sentences, home / "recordings")
        clips = [Clip(path.stem, path, text) for path, text in zip(paths, texts, strict=True)]
        config = replace(tiny(), epochs=EPOCHS, evaluate_every_epochs=EPOCHS)
        result = train(
            config, TrainingData(clips[:LEARNT], home), device="cpu", progress=ignore_progress
        )
        wrong = [
            _cer(result.model_directory, precision, paths[LEARNT:], texts[LEARNT:])
            for precision in ("float32", "bfloat16")
        ]
    return wrong[0], wrong[1]


def _cer(model: Path, precision: str, paths: Sequence[Path], texts: Sequence[str]) -> float:
    torch.manual_seed(0)
    transcriber = Transcriber(model, device="cpu", precision=precision)
    recordings = [Recording(path.stem, path) for path in paths]
    heard = [result.heard for result in transcriber.transcribe(recordings, ignore_progress)]
    return spoken_error_rates(texts, heard).cer
