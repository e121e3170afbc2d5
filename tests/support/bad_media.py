"""Forty recordings that are none, as teams really have them: cut, mistaken, empty, damaged, hostile.

Nothing in any of them can be learnt from, so each must be named and none may do harm.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from support.sound import tone, write_recording, write_video

RATE_HZ = 16_000
FORMS = {
    "webm": ("webm", "libopus", "flt", 48_000),
    "ogg": ("ogg", "libopus", "flt", 48_000),
    "mp3": ("mp3", "libmp3lame", "fltp", 44_100),
    "m4a": ("mp4", "aac", "fltp", 44_100),
}


def bad_recordings(scratch: Path) -> dict[str, bytes]:
    """Forty files by what is wrong with them; `scratch` is used to make them."""
    found = _cut_off(scratch) | _not_media() | _broken_headers() | _no_speech(scratch)
    assert len(found) == 40, len(found)
    return found


def _cut_off(scratch: Path) -> dict[str, bytes]:
    """Uploads that ended early, and such that lost their beginning."""
    found = {}
    for suffix, (container, codec, sample_format, rate_hz) in FORMS.items():
        whole = write_recording(
            scratch / f"whole.{suffix}",
            tone(1.0, rate_hz)[None],
            rate_hz=rate_hz,
            container=container,
            codec=codec,
            sample_format=sample_format,
        ).read_bytes()
        found[f"{suffix} of 16 bytes"] = whole[:16]
        found[f"{suffix} of 60 bytes"] = whole[:60]
        noise = random.Random(suffix).randbytes(len(whole))
        found[f"{suffix} whose content is noise"] = whole[:40] + noise[40:]
    for kind in ("WAV", "FLAC"):
        whole = _written(tone(1.0), kind)
        found[f"{kind} of 16 bytes"] = whole[:16]
        found[f"{kind} of 44 bytes"] = whole[:44]
    return found


def _not_media() -> dict[str, bytes]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb", bytes(5_000_000))
    pixel = zlib.compress(b"\0\0\0\0")
    return {
        "one byte": b"\0",
        "zeros": bytes(5_000),
        "noise": random.Random(1).randbytes(5_000),
        "text": b"this is no recording " * 50,
        "web page": b"<!doctype html><title>502 Bad Gateway</title>" * 20,
        "JSON": b'{"error": "not found"}',
        "archive": archive.getvalue(),
        "picture": b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + pixel,
        "pickle": b"\x80\x04\x95\x1b\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93.",
        "playlist of local files": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "list of pieces": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    }


def _broken_headers() -> dict[str, bytes]:
    """WAV files that lie about themselves."""
    return {
        "no channels": _wav(channels=0),
        "no sample rate": _wav(rate_hz=0),
        "no bits": _wav(bits=0),
        "no data": _wav(data=b""),
        "unknown codec": _wav(codec=0x4242),
    }


def _no_speech(scratch: Path) -> dict[str, bytes]:
    """What decodes, but holds nothing that could be learnt."""
    return {
        "silence": _written(np.zeros(RATE_HZ, np.float32), "WAV"),
        "almost silence": _written(1e-5 * tone(1.0), "WAV"),
        "a constant": _written(np.zeros(RATE_HZ, np.float32) + 1e-4, "WAV"),
        "a click": _written(tone(0.01), "WAV"),
        "a tenth of a second": _written(tone(0.1), "WAV"),
        "distortion": _written(np.sign(tone(1.0)), "WAV"),
        "half a minute": _written(tone(40.0), "FLAC"),
        "pictures only": write_video(scratch / "mute.mp4", None).read_bytes(),
    }


def _written(samples: NDArray[np.float32], kind: str) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, samples, RATE_HZ, format=kind)
    return target.getvalue()


def _wav(
    *,
    codec: int = 1,
    channels: int = 1,
    rate_hz: int = RATE_HZ,
    bits: int = 16,
    data: bytes = bytes(range(256)) * 8,
) -> bytes:
    width = max(channels * bits // 8, 1)
    form = struct.pack("<HHIIHH", codec, channels, rate_hz, rate_hz * width, width, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", len(body) + len(data)) + body + data
