"""Files that pretend to be recordings: damaged, lying, or made to do harm. Forty of them, by name."""

from __future__ import annotations

import io
import random
import struct
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from support.speech import spoken_clip

_SECOND = b"\0\0" * 16_000


def write_hostile_media(folder: Path) -> list[str]:
    """Write them all; returns their names."""
    names = []
    for name, content in _files():
        (folder / name).write_bytes(content)
        names.append(name)
    return names


def _files() -> Iterator[tuple[str, bytes]]:
    yield from _no_media()
    yield from _references()
    yield from _waves()
    yield from _broken_flac()
    yield from _noise()


def _no_media() -> Iterator[tuple[str, bytes]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.wav", "x")
    yield "empty.mp3", b""
    yield "one-byte.wav", b"R"
    yield "zeros.mp3", bytes(50_000)
    yield "text.flac", b"In the beginning was the Word. " * 200
    yield "page.m4a", b"<!doctype html><html><body>404</body></html>" * 50
    yield "json.ogg", b'{"error": "not found"}'
    yield "script.mp3", b"#!/bin/sh\nrm -rf /\n" * 20
    yield "archive.webm", archive.getvalue()
    yield (
        "pointer.wav",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n",
    )
    yield "elf.aac", b"\x7fELF\x02\x01\x01" + bytes(4000)
    yield "png.mp4", b"\x89PNG\r\n\x1a\n" + bytes(2000)
    yield "pdf.wma", b"%PDF-1.7\n" + b"0 0 obj\n" * 300


def _references() -> Iterator[tuple[str, bytes]]:
    """Lists that would make a player open something else."""
    yield "playlist.mp3", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    yield "stream.m4a", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n"
    yield "concat.wav", b"ffconcat version 1.0\nfile '/etc/passwd'\n"
    yield "session.aac", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n"
    yield "dash.mp4", b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>'
    yield "subtitle.ogg", b"1\n00:00:00,000 --> 00:00:01,000\nhello\n\n"
    yield "image-list.mkv", b"imf\nfile:///dev/zero\n"


def _wave(**changes: int) -> bytes:
    """A WAV header with lies in it, before a second of silence."""
    fields = {"riff": 36 + len(_SECOND), "format": 1, "channels": 1, "rate": 16_000, "block": 2, "bits": 16,
              "data": len(_SECOND)} | changes  # fmt: skip
    byte_rate = min(fields["rate"] * fields["block"], 0xFFFFFFFF)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", fields["riff"], b"WAVE", b"fmt ", 16, fields["format"],
        fields["channels"], fields["rate"], byte_rate, fields["block"], fields["bits"], b"data", fields["data"],
    )  # fmt: skip


def _waves() -> Iterator[tuple[str, bytes]]:
    yield "no-samples.wav", _wave(data=0)
    yield "header-only.wav", _wave()
    yield "no-rate.wav", _wave(rate=0) + _SECOND
    yield "huge-rate.wav", _wave(rate=0xFFFFFFFF) + _SECOND
    yield "slow-rate.wav", _wave(rate=3) + _SECOND
    yield "no-channels.wav", _wave(channels=0) + _SECOND
    yield "many-channels.wav", _wave(channels=65_535) + _SECOND
    yield "strange-format.wav", _wave(format=0x4242) + _SECOND
    yield "no-bits.wav", _wave(bits=0) + _SECOND
    yield "cut-header.wav", _wave()[:30]


def _broken_flac() -> Iterator[tuple[str, bytes]]:
    whole = spoken_clip("LJ001-0002").path.read_bytes()
    chance = random.Random(7)
    yield "magic-only.flac", whole[:4]
    yield "cut-head.flac", whole[:40]
    yield "no-head.flac", whole[9000:9400]
    yield "scrambled.flac", whole[:42] + chance.randbytes(len(whole) - 42)
    yield "no-frames.flac", whole[:42] + bytes(20_000)


def _noise() -> Iterator[tuple[str, bytes]]:
    chance = random.Random(11)
    for head, name in (
        (b"OggS\0\x02", "noise.ogg"),
        (b"\x1aE\xdf\xa3", "noise.webm"),
        (b"\0\0\0 ftypM4A ", "noise.m4a"),
        (b"FORM\0\0\x10\0AIFF", "noise.aiff"),
        (b".snd\0\0\0\x18", "noise.au"),
        (b"caff\0\x01\0\0", "noise.caf"),
    ):
        yield name, head + chance.randbytes(6000)


def write_unending_media(folder: Path) -> list[str]:
    """Files of next to nothing on the disk that decode to an hour of silence and more; returns their names."""
    soundfile.write(folder / "bomb.flac", np.zeros(3600 * 8_000, np.int16), 8_000)
    soundfile.write(folder / "stereo-bomb.flac", np.zeros((1800 * 16_000, 2), np.int16), 16_000)
    names = ["bomb.flac", "stereo-bomb.flac"]
    for name, data in (("sparse.wav", 0x7FFFFFFF), ("endless.wav", 0xFFFFFFFF)):
        with (folder / name).open("wb") as file:
            file.write(_wave(riff=0xFFFFFFFF, data=data))
            file.truncate(120 << 20)
        names.append(name)
    return names


def silent_wave(path: Path, seconds: int) -> None:
    """A good file among them."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(_SECOND * seconds)
