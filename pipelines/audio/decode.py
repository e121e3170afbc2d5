"""Any recording a person may have made, as mono float32 samples at the wanted rate.

Goes by content, never by the file's name: takes are often stored under a wrong extension, WebM
recordings carry no duration, and some takes are videos. Knows no cells and no projects.

Recordings come from repositories that strangers can write to, so only plain media containers are
opened: no playlist, no concatenation script, nothing that names a second file or an address.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from pipelines.errors import AudioTooLong, AudioUnreadable

Samples = NDArray[np.float32]
"""Mono sound, one value per sample, nominally −1…1."""

MAX_DURATION_S = 24 * 3600.0
MAX_CHANNELS = 8
BLOCK_SAMPLES = 32_768
"""Samples that pass through Python at once; a codec's own frames may be a few hundred."""
MIN_SAMPLE_RATE_HZ = 2_000
MAX_SAMPLE_RATE_HZ = 768_000

CONTAINERS = (
    "aac,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpeg,mpegts,ogg,tta,w64,wav,wv"
)
"""FFmpeg demuxers that may open a file; each holds its media itself."""


@dataclass(frozen=True, slots=True)
class Audio:
    """A decoded recording."""

    samples: Samples
    sample_rate_hz: int

    @property
    def duration_s(self) -> float:
        """Measured length; headers are not believed."""
        return len(self.samples) / self.sample_rate_hz


def decode(
    path: Path, sample_rate_hz: int = 16_000, *, max_duration_s: float = MAX_DURATION_S
) -> Audio:
    """Read a whole recording into memory.

    Raises:
        AudioUnreadable: not a recording, or one beyond the limits.
    """
    blocks = list(decode_blocks(path, sample_rate_hz, max_duration_s=max_duration_s))
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if len(samples) == 0:
        raise AudioUnreadable(path, "it contains no sound")
    return Audio(samples, sample_rate_hz)


def decode_blocks(
    path: Path, sample_rate_hz: int = 16_000, *, max_duration_s: float = MAX_DURATION_S
) -> Iterator[Samples]:
    """Read a recording piece by piece, in memory that does not grow with its length.

    Raises:
        AudioUnreadable: not a recording, or one beyond the limits (possibly after some pieces).
    """
    with _opened(path) as (container, stream):
        source_rate_hz = _checked_rate(path, stream)
        to_planar = av.AudioResampler(format="fltp", rate=source_rate_hz, frame_size=BLOCK_SAMPLES)
        resample = soxr.ResampleStream(source_rate_hz, sample_rate_hz, 1, dtype="float32")
        most_samples = math.ceil(max_duration_s * source_rate_hz)
        seen = 0
        for frame in chain(_frames(path, container, stream), [None]):  # None: what is left over
            for planar in to_planar.resample(frame):
                mono = _mono(planar.to_ndarray())
                seen += len(mono)
                if seen > most_samples:
                    raise AudioTooLong(path, f"it is longer than {max_duration_s / 3600:g} h")
                yield resample.resample_chunk(mono)
        yield resample.resample_chunk(np.zeros(0, np.float32), last=True)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file by content, with its first audio stream."""
    if not path.is_file():
        raise AudioUnreadable(path, "there is no such file")
    if path.stat().st_size == 0:
        raise AudioUnreadable(path, "the file is empty")
    # Reading through a Python file lets every protocol of FFmpeg itself be forbidden.
    with path.open("rb") as file:
        try:
            container = av.open(
                file,
                options={"format_whitelist": CONTAINERS, "protocol_whitelist": "pipe"},
                metadata_errors="replace",
            )
        except (av.FFmpegError, ValueError, EOFError) as error:
            raise AudioUnreadable(path, "it is not a recording in a known format") from error
        with container:
            if not container.streams.audio:
                raise AudioUnreadable(path, "it has no audio track")
            yield container, container.streams.audio[0]


def _checked_rate(path: Path, stream: Any) -> int:
    context = stream.codec_context
    if context is None:
        raise AudioUnreadable(path, "its audio codec is unknown")
    if not 1 <= context.channels <= MAX_CHANNELS:
        raise AudioUnreadable(
            path, f"it has {context.channels} channels, at most {MAX_CHANNELS} are accepted"
        )
    rate_hz = int(context.sample_rate or 0)
    if not MIN_SAMPLE_RATE_HZ <= rate_hz <= MAX_SAMPLE_RATE_HZ:
        raise AudioUnreadable(path, f"its sample rate of {rate_hz} Hz is not plausible")
    return rate_hz


def _frames(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames; a damaged packet is skipped as players do, a damaged file is not."""
    decoded = damaged = 0
    try:
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    decoded += 1
                    yield frame
            except av.error.InvalidDataError:
                damaged += 1
    except av.FFmpegError as error:
        raise AudioUnreadable(path, f"it is damaged ({error.strerror})") from error
    if damaged > decoded:
        raise AudioUnreadable(path, "most of it is damaged")


def _mono(planes: NDArray[np.float32]) -> Samples:
    """Mean of the channels, shape (channels, n) to (n); values that are no numbers become silence."""
    if planes.shape[0] > MAX_CHANNELS:
        planes = planes[:MAX_CHANNELS]
    mono: Samples = planes[0] if len(planes) == 1 else planes.mean(axis=0, dtype=np.float32)
    if np.isfinite(mono.sum()):  # of all at once; asking each costs as much as decoding it
        return mono
    return np.nan_to_num(mono, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
