"""The original Whisper (package openai-whisper, extra `whisper-reference`): what every other engine is held against.

One recording at a time, in full windows, with the original's own retries. Models are a `.pt` file, a directory
with one, or a name that the package has in its cache; nothing is fetched. Slower than the default engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pipelines.asr.whisper.assembly import Heading, assemble
from pipelines.asr.whisper.engine import SAMPLE_RATE_HZ, EngineInfo, Listening
from pipelines.asr.whisper.suspicion import flags_of
from pipelines.asr.whisper.transcript import Segment, Transcript, Word, nothing_heard
from pipelines.audio.decode import Samples
from pipelines.audio.silence import is_silent
from pipelines.compute import choose_device
from pipelines.errors import DeviceUnavailable, ModelNotFound
from pipelines.progress import Progress, ignore_progress

PRECISIONS = {"auto": None, "float32": False, "float16": True}
"""Our words, and whether the original is asked for half precision; "auto" is half on a GPU only."""


class OpenAIWhisper:
    """A loaded model; see `pipelines.asr.whisper.engine.Engine`."""

    def __init__(
        self, model: str | Path, *, device: str = "cpu", precision: str = "auto", threads: int = 0
    ) -> None:
        """Load weights.

        Raises:
            ModelNotFound, DeviceUnavailable: in words for the user.
        """
        processor = choose_device(device)
        if precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise DeviceUnavailable(f'Precision "{precision}" is not known; use one of {known}.')
        asked = PRECISIONS[precision]
        self._is_half = processor.type == "cuda" if asked is None else asked
        if threads:
            torch.set_num_threads(threads)
        self._whisper = _package()
        self._model = self._whisper.load_model(str(_weights(Path(model))), device=processor)
        number_format = "float16" if self._is_half else "float32"
        self._info = EngineInfo("openai-whisper", Path(model).name, device, number_format)

    @property
    def info(self) -> EngineInfo:
        """What was loaded, onto what."""
        return self._info

    def count_tokens(self, text: str) -> int:
        """How many tokens of a prompt a text takes."""
        tokenizer = self._whisper.tokenizer.get_tokenizer(self._model.is_multilingual)
        return len(tokenizer.encode(f" {text.strip()}"))

    def transcribe(
        self,
        recordings: Sequence[Samples],
        listening: Listening,
        progress: Progress = ignore_progress,
    ) -> list[Transcript]:
        """Transcribe recordings at 16 kHz, one by one; the mode is always sequential."""
        transcripts: list[Transcript] = []
        for samples in recordings:
            progress("Transcribing", fraction=len(transcripts) / len(recordings))
            transcripts.append(self._one(samples, listening))
        return transcripts

    def _one(self, samples: Samples, listening: Listening) -> Transcript:
        duration_s = len(samples) / SAMPLE_RATE_HZ
        if is_silent(samples, SAMPLE_RATE_HZ):
            return nothing_heard(duration_s, listening.language or "")
        result = self._model.transcribe(
            samples,
            language=listening.language if self._model.is_multilingual else "en",
            beam_size=listening.beam if listening.beam > 1 else None,
            condition_on_previous_text=False,
            initial_prompt=listening.prompt or None,
            carry_initial_prompt=bool(listening.prompt),
            word_timestamps=listening.has_words,
            fp16=self._is_half,
            verbose=None,
        )
        segments = [_segment(raw, duration_s, listening.prompt) for raw in result["segments"]]
        return assemble(segments, Heading(duration_s, result["language"], 1.0))


def _package() -> Any:
    try:
        import whisper
    except ImportError as error:
        raise ModelNotFound(
            'The engine openai-whisper is not installed: install the extra "whisper-reference".'
        ) from error
    return whisper


def _weights(model: Path) -> Path:
    """A directory's only `.pt` file; anything else is the package's own business."""
    found = sorted(model.glob("*.pt")) if model.is_dir() else [model]
    if len(found) != 1 or (model.suffix == ".pt" and not model.is_file()):
        raise ModelNotFound(f"{model.name} is no Whisper model of openai-whisper (one .pt file).")
    return found[0]


def _segment(raw: dict[str, Any], duration_s: float, prompt: str) -> Segment:
    words = tuple(
        Word(word["start"], word["end"], word["word"], round(float(word["probability"]), 4))
        for word in raw.get("words", ())
    )
    text = raw["text"].strip()
    start_s, end_s = raw["start"], min(raw["end"], duration_s)
    flags = flags_of(text, end_s - start_s, no_speech=float(raw["no_speech_prob"]), prompt=prompt)
    confidence = round(math.exp(min(0.0, float(raw["avg_logprob"]))), 4)
    return Segment(start_s, max(start_s, end_s), text, confidence, words, flags)
