"""Length-framed JSON, the only language parent and child speak.

    ┌───────────────┬──────────────────────────────────────────────┐
    │ 4 bytes, big  │ UTF-8 JSON {"v": 1, "t": type, "seq": n, …}   │
    │ endian length │ at most 16 MiB                                │
    └───────────────┴──────────────────────────────────────────────┘

Each direction numbers its frames from 0. Anything unexpected is a `FrameError`: there is no way back
into step on a byte stream, so the reader must end the conversation. Knows no socket and no process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

JsonObject = dict[str, Any]

VERSION: Final = 1
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
HEADER_BYTES: Final = 4

FROM_CHILD: Final = frozenset(
    {"hello", "ready", "heartbeat", "progress", "request", "result", "error", "bye"}
)
FROM_PARENT: Final = frozenset({"config", "reply", "cancel"})


class FrameError(Exception):
    """Bytes that are no frame, or a frame that may not come now."""


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=True)
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


class FrameEncoder:
    """Numbers and packs the frames of one direction. Not thread-safe: hold a lock around it."""

    def __init__(self) -> None:
        self._seq = 0

    def encode(self, kind: str, fields: JsonObject | None = None) -> bytes:
        """Pack one frame.

        Raises:
            FrameError: the fields are no JSON, or too large; the numbering is untouched, so that
                another frame may be sent instead.
        """
        frame = {"v": VERSION, "t": kind, "seq": self._seq, **(fields or {})}
        try:
            body = _ENCODER.encode(frame).encode("ascii")
        except (TypeError, ValueError, RecursionError) as error:
            raise FrameError(f"{kind} frame is not JSON: {error}") from error
        if len(body) > MAX_FRAME_BYTES:
            raise FrameError(
                f"{kind} frame of {len(body)} bytes, at most {MAX_FRAME_BYTES} allowed"
            )
        self._seq += 1
        return len(body).to_bytes(HEADER_BYTES, "big") + body


class FrameDecoder:
    """Unpacks the frames of one direction from chunks of any size."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed
        self._buffer = bytearray()
        self._seq = 0

    def feed(self, data: bytes) -> Iterator[JsonObject]:
        """Yield every frame that `data` completes.

        Raises:
            FrameError: length, text, version, type or number is not what must come next.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= HEADER_BYTES:
                body_start = start + HEADER_BYTES
                length = check_length(buffer[start:body_start])
                if len(buffer) - body_start < length:
                    break
                start = body_start + length
                yield self._unpack(bytes(buffer[body_start:start]))
        finally:
            del buffer[:start]

    def skip(self, count: int) -> None:
        """Expect the numbering to go on after frames that somebody else unpacked."""
        self._seq += count

    def _unpack(self, body: bytes) -> JsonObject:
        try:
            frame = _DECODER.decode(body.decode())
        except (ValueError, RecursionError) as error:
            raise FrameError(f"frame is not JSON: {error}") from error
        if not isinstance(frame, dict):
            raise FrameError(f"frame is a JSON {type(frame).__name__}, expected an object")
        version, kind, seq = frame.get("v"), frame.get("t"), frame.get("seq")
        if version != VERSION:
            raise FrameError(f"frame version {version!r}, expected {VERSION}")
        if not isinstance(kind, str) or kind not in self._allowed:
            raise FrameError(f"frame type {kind!r} may not come from this side")
        if seq != self._seq or isinstance(seq, bool):
            raise FrameError(f"frame number {seq!r}, expected {self._seq}")
        self._seq += 1
        return frame


def check_length(header: bytes | bytearray) -> int:
    """Read a frame's header.

    Raises:
        FrameError: nothing of ours is that long or that short.
    """
    length = int.from_bytes(header, "big")
    if not 2 <= length <= MAX_FRAME_BYTES:
        raise FrameError(f"frame length {length}, expected 2 to {MAX_FRAME_BYTES}")
    return length
