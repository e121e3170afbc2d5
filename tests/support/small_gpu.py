"""Transcribing on a GPU that is too small: the real task, with an engine that runs out of memory as CUDA does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batch.stages import tasks
from pipelines.asr.whisper.engine import EngineInfo, Listening
from pipelines.asr.whisper.transcript import Transcript, nothing_heard

FITS = 4
"""Pieces side by side, in whole numbers of eight bits."""


class SmallGpu:
    """An engine that hears nothing, and needs memory for it."""

    def __init__(self, model: str, precision: str) -> None:
        self.info = EngineInfo("faster-whisper", model, "cuda", precision)

    def count_tokens(self, text: str) -> int:
        """One for each word."""
        return len(text.split())

    def transcribe(self, recordings: Sequence[Any], listening: Listening) -> list[Transcript]:
        """Fail unless batch and precision are low enough; a huge model never fits."""
        is_large = listening.batch_size > FITS or self.info.precision != "int8"
        if is_large or self.info.model == "huge":
            raise RuntimeError("CUDA failed with error out of memory")
        return [nothing_heard(2.0, "en") for _ in recordings]


class Transcribe(tasks.Transcribe):
    """The batch's own task on that GPU."""

    def setup(self, device: str) -> None:
        """Have the small GPU opened, and nobody else, since this is a process of its own."""
        tasks.open_engine = lambda _, model, precision, **__: SmallGpu(model, precision)
        super().setup(device)
