"""Diarisation by pyannote, for operators who have accepted the terms of its weights.

Knows the library's one call. Needs `pip install pyannote.audio` and either a local copy of a pipeline or
a hub token in the environment (`HF_TOKEN`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import torch

from pipelines.asr.diarize.port import LONGEST_S, SAMPLE_RATE_HZ
from pipelines.asr.diarize.turns import SpeakerCount, Turn, renamed
from pipelines.audio.decode import Samples
from pipelines.compute import choose_device
from pipelines.errors import ModelNotFound, PipelineError

DEFAULT_MODEL = "pyannote/speaker-diarization-3.1"


class PyannoteDiariser:
    """Loaded once, used for any number of recordings; a recording is in memory as a whole."""

    def __init__(
        self, model: str = DEFAULT_MODEL, *, device: str = "cpu", longest_s: float = LONGEST_S
    ) -> None:
        """Load a pipeline.

        Args:
            model: a hub id or a local copy.
            device: "cpu" or "cuda".
            longest_s: a longer recording is refused, before all of it is in memory.

        Raises:
            ModelNotFound: the library is missing, or the weights are out of reach.
            DeviceUnavailable: no such device.
        """
        try:
            from pyannote.audio import Pipeline
        except ImportError as error:
            raise ModelNotFound(
                "pyannote is not installed: pip install pyannote.audio, or leave the diariser at "
                '"voices", which needs no account'
            ) from error
        loaded = Pipeline.from_pretrained(model, use_auth_token=os.environ.get("HF_TOKEN"))
        if loaded is None:
            raise ModelNotFound(
                f"{model} is out of reach: accept its terms on its page, then set HF_TOKEN"
            )
        self._pipeline = loaded.to(choose_device(device))
        self._longest_s = longest_s

    def turns(
        self, pieces: Iterable[Samples], speakers: SpeakerCount | None = None
    ) -> tuple[Turn, ...]:
        """Find turns; see `Diariser.turns`.

        Raises:
            PipelineError: the recording is longer than may be in memory.
        """
        speakers = speakers or SpeakerCount()
        sound = torch.from_numpy(self._whole(pieces))[None]
        found = self._pipeline(
            {"waveform": sound, "sample_rate": SAMPLE_RATE_HZ},
            num_speakers=speakers.exactly,
            min_speakers=speakers.least,
            max_speakers=speakers.most,
        )
        return renamed(
            Turn(segment.start, segment.end, str(speaker))
            for segment, _, speaker in found.itertracks(yield_label=True)
        )

    def _whole(self, pieces: Iterable[Samples]) -> Samples:
        kept: list[Samples] = [np.zeros(0, np.float32)]
        held = 0
        for piece in pieces:
            held += len(piece)
            if held > self._longest_s * SAMPLE_RATE_HZ:
                raise PipelineError(
                    f"pyannote needs a recording whole, and this one is longer than {self._longest_s:g} s"
                )
            kept.append(piece)
        return np.concatenate(kept)
