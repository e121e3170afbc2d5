"""Short samples that travel inside a report, within a budget: a repository keeps every byte for ever.

Knows no page; what it returns is a part of one.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from pipelines.audio.decode import decode
from pipelines.audio.encode import encode
from pipelines.errors import AudioUnreadable
from pipelines.report.parts import Sound

LONGEST_S = 8.0
BIT_RATE = 24_000
"""Opus of this rate is good enough to tell what is wrong with a voice."""
RATE_HZ = 24_000
_FORMAT, _MIME_TYPE = "webm", "audio/webm"


class Samples:
    """Takes up to `most` samples of at most `most_bytes` in all, then no more."""

    def __init__(self, most: int = 6, most_bytes: int = 200_000) -> None:
        """Start with the whole budget."""
        self._left = most
        self._bytes_left = most_bytes

    def take(self, audio: Path, label: str) -> Sound | None:
        """Encode the beginning of a recording; None if it is unreadable or the budget is spent."""
        if not self._left:
            return None
        try:
            start = decode(audio, RATE_HZ).samples[: round(LONGEST_S * RATE_HZ)]
        except AudioUnreadable:
            return None
        with tempfile.TemporaryDirectory() as directory:
            target = Path(directory) / f"sample.{_FORMAT}"
            duration_s = encode(start, RATE_HZ, target, _FORMAT, bit_rate=BIT_RATE).duration_s
            text = base64.b64encode(target.read_bytes()).decode("ascii")
        if len(text) > self._bytes_left:
            return None
        self._left -= 1
        self._bytes_left -= len(text)
        return Sound(label, f"data:{_MIME_TYPE};base64,{text}", duration_s)
