"""The port to whatever finds out who speaks when, and the choice between those that there are.

Knows no sound and no model; a diariser's libraries are imported when it is opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

from pipelines.asr.diarize.turns import SpeakerCount, Turn
from pipelines.audio.decode import Samples

SAMPLE_RATE_HZ = 16_000
LONGEST_S = 600.0
"""Of a recording, what is in memory at once."""


class Diarisers(StrEnum):
    """Those that there are."""

    VOICES = "voices"
    PYANNOTE = "pyannote"


class Diariser(Protocol):
    """Finds turns; loaded once, used for any number of recordings."""

    def turns(
        self, pieces: Iterable[Samples], speakers: SpeakerCount | None = None
    ) -> tuple[Turn, ...]:
        """Turns in the order of time, named SPEAKER_00, SPEAKER_01 … by first appearance.

        Args:
            pieces: one recording, mono at 16 kHz, in order and cut anywhere.
            speakers: how many there are, as far as somebody knows.

        Raises:
            PipelineError: the recording is too long for this one.
        """


def open_diariser(name: str, *, device: str = "cpu", longest_s: float = LONGEST_S) -> Diariser:
    """Load a diariser.

    Args:
        name: "voices" or "pyannote".
        device: "cpu" or "cuda".
        longest_s: how much sound is in memory at once: the length of a block, or, where there are no
            blocks, of the longest recording that is taken.

    Raises:
        ModelNotFound: its weights or its library are not here.
        DeviceUnavailable: no such device.
        ValueError: no such diariser.
    """
    if Diarisers(name) is Diarisers.PYANNOTE:
        from pipelines.asr.diarize.pyannote import PyannoteDiariser

        return PyannoteDiariser(device=device, longest_s=longest_s)
    from pipelines.asr.diarize.diariser import VoiceDiariser

    return VoiceDiariser(device=device, block_s=longest_s)
