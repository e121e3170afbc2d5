"""The parent's end of a child's socket: frames in, frames out, never blocking.

Knows no meaning: what may be said when is `Conversation`'s.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from runner.frames import FROM_CHILD, FrameDecoder, FrameEncoder, JsonObject

_CHUNK_BYTES = 256 * 1024


class ParentLine:
    """A non-blocking stream of frames; used by one thread."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(0.0)
        self._connection = connection
        self._decoder = FrameDecoder(FROM_CHILD)
        self._encoder = FrameEncoder()
        self._outgoing = bytearray()
        self.has_ended = False

    @property
    def wants_to_write(self) -> bool:
        """Whether bytes wait for room in the socket."""
        return bool(self._outgoing) and not self.has_ended

    def send(self, kind: str, fields: JsonObject) -> None:
        """Queue one frame and write what fits.

        Raises:
            FrameError: the fields are no JSON or too large.
        """
        self._outgoing += self._encoder.encode(kind, fields)
        self.write()

    def write(self) -> None:
        """Write what fits; a child that hung up misses the rest."""
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._outgoing:
                sent = self._connection.send(self._outgoing)
                del self._outgoing[:sent]

    def read(self) -> list[JsonObject] | None:
        """Take what has arrived; None when nothing has, `has_ended` is set at the end of the stream.

        Raises:
            FrameError: the child does not speak frames.
        """
        try:
            data = self._connection.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return None
        except ConnectionResetError:  # it went with our bytes unread
            data = b""
        self.has_ended = not data
        return list(self._decoder.feed(data))
