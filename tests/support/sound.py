"""Recordings made on the spot: tones, silence, and the forms that real takes come in."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def tone(
    seconds: float, rate_hz: int = 16_000, frequency_hz: float = 440.0, amplitude: float = 0.5
) -> NDArray[np.float32]:
    """A sine."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def write_recording(
    path: Path,
    channels: NDArray[np.float32],
    *,
    rate_hz: int,
    container: str,
    codec: str,
    sample_format: str = "fltp",
) -> Path:
    """Encode samples, shape (channels, n), whatever the path's suffix says."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels.shape[0]]
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout=layout)
        convert = av.AudioResampler(format=sample_format, layout=layout, rate=rate_hz)
        frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
        frame.sample_rate = rate_hz
        for converted in convert.resample(frame):
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return path


class _Unseekable:
    """A sink that cannot go back, as a browser's recorder: headers never learn the duration."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")

    def write(self, data: bytes) -> int:
        return self.file.write(data)

    def close(self) -> None:
        self.file.close()


def write_browser_webm(path: Path, samples: NDArray[np.float32]) -> Path:
    """WebM/Opus at 48 kHz without a duration in its header."""
    sink = _Unseekable(path)
    with av.open(sink, "w", format="webm") as output:
        stream = output.add_stream("libopus", rate=48_000, layout="mono")
        convert = av.AudioResampler(format="flt", layout="mono", rate=48_000)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for converted in convert.resample(frame):
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    sink.close()
    return path


def write_video(path: Path, samples: NDArray[np.float32] | None, rate_hz: int = 44_100) -> Path:
    """MP4 with a few video frames, and an AAC track if there are samples."""
    with av.open(str(path), "w", format="mp4") as output:
        video = output.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = None if samples is None else output.add_stream("aac", rate=rate_hz, layout="mono")
        for _ in range(5):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
        if audio is not None and samples is not None:
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = rate_hz
            output.mux(audio.encode(frame))
            output.mux(audio.encode(None))
    return path
