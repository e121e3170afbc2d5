"""Names the speakers of transcribed recordings, where the operator's settings say so. Knows no cells.

Optional, as everywhere: without weights, or where one recording cannot be divided, the text is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from handlers.base import Heartbeat
from pipelines.asr.diarize.port import Diarisers, open_diariser
from pipelines.asr.whisper.speakers import with_speakers
from pipelines.asr.whisper.transcript import Transcript
from pipelines.audio.decode import decode_blocks
from pipelines.errors import PipelineError


def named(
    recordings: Sequence[tuple[Path, Transcript]], device: str, heartbeat: Heartbeat
) -> Iterator[Transcript]:
    """Each recording's transcript with the names of its speakers, SPEAKER_00 being the first to speak."""
    try:
        diariser = open_diariser(Diarisers.VOICES, device=device)
    except PipelineError as error:
        heartbeat(f"Speakers are not named: {error}")
        yield from (transcript for _, transcript in recordings)
        return
    for number, (path, transcript) in enumerate(recordings, start=1):
        heartbeat(f"Telling speakers apart in recording {number} of {len(recordings)}")
        try:
            yield with_speakers(transcript, diariser.turns(decode_blocks(path)))
        except PipelineError as error:
            heartbeat(f"Speakers are not named: {error}")
            yield transcript
