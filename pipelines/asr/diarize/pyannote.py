"""Diarisation by pyannote, for operators who have accepted the terms of its weights.

Knows the library's one call. Needs `pip install pyannote.audio` and either a local copy of a pipeline or
a hub token in the environment (`HF_TOKEN`).
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from pipelines.asr.diarize.turns import SpeakerCount, Turn, renamed
from pipelines.audio.decode import decode
from pipelines.compute import choose_device
from pipelines.errors import ModelNotFound

DEFAULT_MODEL = "pyannote/speaker-diarization-3.1"
SAMPLE_RATE_HZ = 16_000


class PyannoteDiariser:
    """Loaded once, used for any number of recordings; a recording is in memory as a whole."""

    def __init__(self, model: str = DEFAULT_MODEL, *, device: str = "cpu") -> None:
        """Load a pipeline.

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

    def turns(self, path: Path, speakers: SpeakerCount | None = None) -> tuple[Turn, ...]:
        """Find turns; see `Diariser.turns`."""
        speakers = speakers or SpeakerCount()
        sound = torch.from_numpy(decode(path, SAMPLE_RATE_HZ).samples)[None]
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
