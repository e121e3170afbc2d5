r"""What the child tree writes on descriptors 1 and 2: cut into lines, masked, dated, bounded, on disk.

    bytes ─► lines (a progress bar's `\r` states become one a second) ─► mask ─► time ─► file + last lines

Nothing reaches the disk before the mask saw the whole line; a line whose masking fails is dropped and
counted. Knows no secrets and no process.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from runner.boundary import Raised, boundary

logger = logging.getLogger(__name__)

Mask = Callable[[bytes], bytes]

MAX_LINE_BYTES = 64 * 1024
_SECRET_MARGIN_BYTES = 8 * 1024
"""Masked together with the line before it is cut, so that no secret is cut in half."""
KEPT_LINES = 50
BAR_INTERVAL_S = 1.0
_LINE_ENDS = re.compile(rb"(\r?\n|\r)")


class LineCutter:
    """Cuts a byte stream into lines; states that a carriage return overwrote are mostly left out."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._holds_return = False
        self._bar_shown_at = float("-inf")

    def feed(self, data: bytes, now: float) -> Iterator[bytes]:
        """Yield the lines that `data` completes, without their ends."""
        if self._holds_return:
            data = b"\r" + data
        # Whether a last "\r" belongs to "\r\n" or to a progress bar shows only with the next byte.
        self._holds_return = data.endswith(b"\r")
        if self._holds_return:
            data = data[:-1]
        for piece in _LINE_ENDS.split(data):
            if piece in (b"\n", b"\r\n"):
                yield self._take()
            elif piece != b"\r":
                room = MAX_LINE_BYTES + _SECRET_MARGIN_BYTES - len(self._line)
                self._line += piece[: max(0, room)]
            elif self._line and now - self._bar_shown_at >= BAR_INTERVAL_S:
                self._bar_shown_at = now
                yield self._take()
            else:
                self._line.clear()

    def close(self) -> Iterator[bytes]:
        """Yield what came without a line end."""
        if self._line:
            yield self._take()

    def _take(self) -> bytes:
        line = bytes(self._line)
        self._line.clear()
        return line


class BoundedFile:
    """A log file that keeps its first quarter and its newest part once it is full."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._limit = limit_bytes
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()
        self.dropped_bytes = 0

    def write(self, line: bytes) -> None:
        """Append one line, its end included; may raise `OSError`."""
        self._file.write(line)
        self._size += len(line)
        if self._size > self._limit:
            self._compact()

    def close(self) -> None:
        """Close the file; what was written is there already."""
        self._file.close()

    def _compact(self) -> None:
        """Rewrite the file as head, marker and newest half; rare, since it frees a quarter."""
        content = self._path.read_bytes()
        head = content[: content.rfind(b"\n", 0, self._limit // 4) + 1]
        tail_from = content.find(b"\n", len(content) - self._limit // 2) + 1
        old_marker = self._marker()
        middle = content[len(head) : tail_from]
        self.dropped_bytes += len(middle) - (len(old_marker) if old_marker in middle else 0)
        replacement = self._path.with_name(f"{self._path.name}.tmp")
        replacement.write_bytes(head + self._marker() + content[tail_from:])
        replacement.replace(self._path)
        self._file.close()
        self._file = self._path.open("ab", buffering=0)
        self._size = self._file.tell()

    def _marker(self) -> bytes:
        return b"[... %d bytes left out ...]\n" % self.dropped_bytes


class ChildLog:
    """Everything between a child's bytes and the disk."""

    def __init__(self, path: Path, mask: Mask, limit_bytes: int) -> None:
        self._cutter = LineCutter()
        self._mask = mask
        self._limit = limit_bytes
        self._file: BoundedFile | None = BoundedFile(path, limit_bytes)
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self.dropped_lines = 0

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The newest lines, masked, without their times."""
        return tuple(self._last)

    def feed(self, data: bytes, now: float) -> None:
        """Take what the pipe delivered; `now` is monotonic."""
        for line in self._cutter.feed(data, now):
            self._write(line)

    def redirect(self, path: Path) -> None:
        """Close the file and go on in another one; nothing of what came before gets there."""
        self.close()
        self._cutter, self.dropped_lines = LineCutter(), 0
        self._last.clear()
        try:
            self._file = BoundedFile(path, self._limit)
        except OSError as error:
            logger.warning("child log is not written: %s", error)
            self._file = None

    def close(self) -> None:
        """Write the unfinished last line and close the file."""
        for line in self._cutter.close():
            self._write(line)
        if self.dropped_lines:
            self._store(b"[%d lines dropped: they could not be masked]" % self.dropped_lines)
        if self._file is not None:
            self._file.close()

    def _write(self, line: bytes) -> None:
        try:
            with boundary("mask"):
                masked = self._mask(line)
        except Raised:  # fail closed, never show the line
            self.dropped_lines += 1
            return
        self._store(masked[:MAX_LINE_BYTES])

    def _store(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        self._last.append(text)
        if self._file is None:
            return
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            self._file.write(f"{stamp} {text}\n".encode())
        except OSError as error:
            # A full disk must neither end the child nor the supervisor.
            logger.warning("child log ended early: %s", error)
            self._file.close()
            self._file = None
