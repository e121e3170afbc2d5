"""Transcribes recordings by path, so many at a time that verses share windows and memory stays bounded.

What cannot be read comes back as its error, in its place: one bad file ends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.asr.whisper.engine import SAMPLE_RATE_HZ, Engine, Listening
from pipelines.asr.whisper.transcript import Transcript
from pipelines.audio.decode import Audio, decode
from pipelines.errors import AudioUnreadable
from pipelines.progress import Progress, ignore_progress

PACK_S = 600.0
"""Sound decoded together: 40 MB of samples, and enough verses to sort by length."""

Result = Transcript | AudioUnreadable


def transcribe_files(
    engine: Engine,
    paths: Sequence[Path],
    listening: Listening,
    progress: Progress = ignore_progress,
) -> Iterator[Result]:
    """Yield a transcript, or why there is none, for each path in order.

    Raises:
        ModelNotFound: the model does not know the language.
    """
    pack: list[Audio | AudioUnreadable] = []
    for number, path in enumerate(paths, start=1):
        progress(f"Reading recording {number} of {len(paths)}")
        pack.append(_read(path))
        if _seconds(pack) >= PACK_S:
            yield from _listen(engine, pack, listening, progress)
            pack = []
    yield from _listen(engine, pack, listening, progress)


def _listen(
    engine: Engine,
    pack: Sequence[Audio | AudioUnreadable],
    listening: Listening,
    progress: Progress,
) -> Iterator[Result]:
    readable = [audio.samples for audio in pack if isinstance(audio, Audio)]
    transcripts = iter(engine.transcribe(readable, listening, progress) if readable else ())
    for audio in pack:
        yield next(transcripts) if isinstance(audio, Audio) else audio


def _read(path: Path) -> Audio | AudioUnreadable:
    try:
        return decode(path, SAMPLE_RATE_HZ)
    except AudioUnreadable as error:
        return error


def _seconds(pack: Sequence[Audio | AudioUnreadable]) -> float:
    return sum(audio.duration_s for audio in pack if isinstance(audio, Audio))
