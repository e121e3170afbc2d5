"""Mono samples as a file that the editor plays: wav, ogg, mp3 or webm, always 48 kHz.

Knows no cells; what it returns is what an attachment's metadata needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import soxr

from pipelines.audio.decode import Samples
from pipelines.errors import PipelineError

SAMPLE_RATE_HZ = 48_000
OPUS_BIT_RATE = 64_000
MP3_BIT_RATE = 96_000
_BLOCK = SAMPLE_RATE_HZ  # one second per frame handed to the encoder's buffer


@dataclass(frozen=True, slots=True)
class _Format:
    container: str
    codec: str
    mime_type: str
    sample_format: str
    bit_rate: int | None


FORMATS = {
    "wav": _Format("wav", "pcm_s16le", "audio/wav", "s16", None),
    "ogg": _Format("ogg", "libopus", "audio/ogg", "flt", OPUS_BIT_RATE),
    "mp3": _Format("mp3", "libmp3lame", "audio/mpeg", "fltp", MP3_BIT_RATE),
    "webm": _Format("webm", "libopus", "audio/webm", "flt", OPUS_BIT_RATE),
}
"""By the words of a job's `audio_format`."""


@dataclass(frozen=True, slots=True)
class EncodedAudio:
    """What was written."""

    path: Path
    mime_type: str
    sample_rate_hz: int
    channels: int
    duration_s: float


def encode(
    samples: Samples,
    sample_rate_hz: int,
    path: Path,
    audio_format: str,
    *,
    bit_rate: int | None = None,
) -> EncodedAudio:
    """Write a file whole or not at all; `bit_rate` per second, where the format's own is too much.

    Raises:
        PipelineError: a format that is not one of `FORMATS`.
    """
    if audio_format not in FORMATS:
        known = ", ".join(FORMATS)
        raise PipelineError(f'Audio format "{audio_format}" is not known; use one of {known}.')
    target = FORMATS[audio_format]
    if bit_rate is not None:
        target = replace(target, bit_rate=bit_rate)
    resampled = soxr.resample(samples, sample_rate_hz, SAMPLE_RATE_HZ)
    sound = np.clip(resampled, -1.0, 1.0).astype(np.float32)
    temporary = path.with_name(f".{path.name}.part")
    try:
        _write(sound, temporary, target)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return EncodedAudio(
        path, target.mime_type, SAMPLE_RATE_HZ, 1, round(len(sound) / SAMPLE_RATE_HZ, 3)
    )


def _write(sound: Samples, path: Path, target: _Format) -> None:
    with av.open(str(path), "w", format=target.container) as container:
        stream = container.add_stream(target.codec, rate=SAMPLE_RATE_HZ, layout="mono")
        if target.bit_rate is not None:
            stream.bit_rate = target.bit_rate
        to_codec = av.AudioResampler(
            format=target.sample_format, layout="mono", rate=SAMPLE_RATE_HZ
        )
        for start in range(0, len(sound), _BLOCK):
            frame = av.AudioFrame.from_ndarray(
                sound[None, start : start + _BLOCK], format="fltp", layout="mono"
            )
            frame.sample_rate = SAMPLE_RATE_HZ
            frame.pts = start
            for converted in to_codec.resample(frame):
                container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
