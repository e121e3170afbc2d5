"""Whisper on faster-whisper and CTranslate2: the engine that everything uses by default.

    batched      cut at pauses ─► sort by length ─► short windows, side by side ─► looks wrong? ─► retry
    sequential   window after window, as the original does; also the last resort of the retries

Loads the model, shows what was loaded, and refuses a device that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ctranslate2
from faster_whisper import WhisperModel

from pipelines.asr.whisper.batched import Batched
from pipelines.asr.whisper.engine import EngineInfo, Listening, Mode
from pipelines.asr.whisper.sequential import Sequential
from pipelines.asr.whisper.transcript import Transcript
from pipelines.asr.whisper.weights import find_weights
from pipelines.asr.whisper.windows import WindowDecoder
from pipelines.audio.decode import Samples
from pipelines.errors import DeviceUnavailable, ModelNotFound
from pipelines.progress import Progress, ignore_progress

PRECISIONS = ("auto", "float32", "float16", "bfloat16", "int8")
"""On a CPU "auto" is int8, twice as fast at equal errors; on a GPU it is what the weights are stored in."""


class FasterWhisper:
    """A loaded model; see `pipelines.asr.whisper.engine.Engine`."""

    def __init__(
        self, model: str | Path, *, device: str = "cpu", precision: str = "auto", threads: int = 0
    ) -> None:
        """Load weights from a directory, or the bundled ones for "tiny".

        Raises:
            ModelNotFound, DeviceUnavailable: in words for the user.
        """
        kind, index = _checked_device(device)
        directory = find_weights(model)
        try:
            self._model = WhisperModel(
                str(directory),
                device=kind,
                device_index=index,
                compute_type=_compute_type(kind, precision),
                cpu_threads=threads,
                local_files_only=True,
            )
        except ValueError as error:
            raise DeviceUnavailable(f"Whisper cannot run in this form here: {error}.") from error
        except RuntimeError as error:
            raise ModelNotFound(
                "The Whisper model is damaged or of another kind; it cannot be loaded."
            ) from error
        self._windows = WindowDecoder(self._model)
        self._sequential = Sequential(self._model)
        self._batched = Batched(self._windows, self._sequential)
        inner = self._model.model
        self._info = EngineInfo("faster-whisper", Path(model).name, device, inner.compute_type)

    @property
    def info(self) -> EngineInfo:
        """What was loaded, onto what."""
        return self._info

    def count_tokens(self, text: str) -> int:
        """How many tokens of a prompt a text takes."""
        return self._windows.count_tokens(text)

    def transcribe(
        self,
        recordings: Sequence[Samples],
        listening: Listening,
        progress: Progress = ignore_progress,
    ) -> list[Transcript]:
        """Transcribe recordings at 16 kHz, in the order given."""
        listening = replace(listening, language=self._known(listening.language))
        if listening.mode is Mode.SEQUENTIAL:
            return [
                self._sequential.transcribe(samples, listening, progress) for samples in recordings
            ]
        return self._batched.transcribe(recordings, listening, progress)

    def _known(self, language: str | None) -> str | None:
        """A code that the model knows, without a region; None is detected where there is a choice."""
        if language is None:
            return None if self._windows.is_multilingual else "en"
        code = language.lower().partition("-")[0]
        if code not in self._model.supported_languages:
            raise ModelNotFound(
                f'This Whisper model does not know the language "{language}"; leave it out to have '
                "it detected, or train a recogniser for the project."
            )
        return code


def _checked_device(name: str) -> tuple[str, int]:
    """Take "cuda:1" apart; a GPU that is not there is never replaced by the CPU.

    Asks CTranslate2 and not torch: a recogniser's process has no other use for torch.
    """
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdecimal():
        raise DeviceUnavailable(f'Device "{name}" is not known; use "cpu" or "cuda".')
    if kind == "cpu":
        return kind, 0
    usable = ctranslate2.get_cuda_device_count()
    if int(index or 0) >= usable:
        raise DeviceUnavailable(
            f'Device "{name}" is set, but Whisper can use {usable} NVIDIA GPUs of this machine.'
        )
    return kind, int(index or 0)


def _compute_type(kind: str, precision: str) -> str:
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise DeviceUnavailable(f'Precision "{precision}" is not known; use one of {known}.')
    return "int8" if (kind, precision) == ("cpu", "auto") else precision
