"""The one interface of all Whisper engines, and the choice among them.

    samples of some recordings, Listening ─► Engine.transcribe ─► a Transcript each

An engine is loaded once and used for any number of recordings. Several at a time, because verse-length ones
share a window. Knows no files, no cells and no processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from pipelines.asr.whisper.transcript import Transcript
from pipelines.errors import ModelNotFound
from pipelines.progress import Progress, ignore_progress

if TYPE_CHECKING:  # whoever only names an engine must not load the audio libraries
    from pipelines.audio.decode import Samples

SAMPLE_RATE_HZ = 16_000


class Mode(StrEnum):
    """How a recording is cut for the model."""

    BATCHED = "batched"
    """At pauses, into pieces that are decoded side by side in windows as short as they."""
    SEQUENTIAL = "sequential"
    """Window after window, each from where the last one ended; the reference."""


@dataclass(frozen=True, slots=True)
class Listening:
    """What to do with a recording; the same for all engines."""

    language: str | None = None
    """A code that Whisper knows ("en"), or None to detect it in each recording."""
    mode: Mode = Mode.BATCHED
    beam: int = 5
    prompt: str = ""
    """Vocabulary as plain text of at most 223 tokens; every window gets it."""
    batch_size: int = 8
    """Pieces decoded side by side in batched mode."""
    has_words: bool = True
    """Whether words get times."""

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Read what `to_json` made."""
        return cls(**{**fields, "mode": Mode(fields["mode"])})

    def to_json(self) -> dict[str, Any]:
        """Plain data for another process."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What runs, to be shown: nothing about it is chosen silently."""

    engine: str
    model: str
    device: str
    precision: str

    def __str__(self) -> str:
        """A line for a log."""
        return f"{self.engine}, model {self.model}, on {self.device} in {self.precision}"


class Engine(Protocol):
    """A loaded Whisper model."""

    @property
    def info(self) -> EngineInfo:
        """What was loaded, onto what."""

    def count_tokens(self, text: str) -> int:
        """How many tokens of a prompt a text takes."""

    def transcribe(
        self,
        recordings: Sequence[Samples],
        listening: Listening,
        progress: Progress = ignore_progress,
    ) -> list[Transcript]:
        """Transcribe recordings at 16 kHz; `progress` may raise to stop.

        Raises:
            ModelNotFound: the model does not know the language.
        """


def open_engine(
    name: str, model: str | Path, *, device: str = "cpu", precision: str = "auto", threads: int = 0
) -> Engine:
    """Load an engine by name: "faster-whisper", or "openai-whisper" as the reference.

    Args:
        name: of the engine.
        model: a directory, or what the engine calls a model.
        device: "cpu", "cuda" or "cuda:1"; never exchanged for another one.
        precision: "auto", "float32", "float16", "bfloat16" or "int8".
        threads: on a CPU; 0 leaves it to the environment.

    Raises:
        ModelNotFound, DeviceUnavailable: in words for the user.
    """
    loaders: dict[str, Callable[[], Engine]] = {
        "faster-whisper": lambda: _faster(model, device, precision, threads),
        "openai-whisper": lambda: _openai(model, device, precision, threads),
    }
    if name not in loaders:
        known = ", ".join(loaders)
        raise ModelNotFound(f'Whisper engine "{name}" is not known; use one of {known}.')
    return loaders[name]()


def _faster(model: str | Path, device: str, precision: str, threads: int) -> Engine:
    from pipelines.asr.whisper.faster import FasterWhisper

    return FasterWhisper(model, device=device, precision=precision, threads=threads)


def _openai(model: str | Path, device: str, precision: str, threads: int) -> Engine:
    from pipelines.asr.whisper.reference import OpenAIWhisper

    return OpenAIWhisper(model, device=device, precision=precision, threads=threads)
