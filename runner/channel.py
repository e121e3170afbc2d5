"""The child's line to its parent: requests, progress, and the wish to stop.

    entry ── request ─► lock ─► socket ─► parent serves it ─► reply ─► reader thread ─► inbox ─► entry
    entry ── progress ─► latest values ─► beat thread, a few times a second ─► socket
    parent ── cancel ─► reader thread ─► inbox ─► `Stopped` at the entry's next `request` or `check`

Two plain threads belong to a channel and end with the process. Knows no job: what a request means is
between the entry and the parent.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from dataclasses import dataclass
from typing import NoReturn

from runner.frames import FROM_PARENT, FrameDecoder, FrameEncoder, FrameError, JsonObject
from runner.limits import Limits

EXIT_PARENT_GONE = 75
"""The parent hung up, sent nonsense or stopped reading: nobody is left to report to."""


class RequestFailed(Exception):
    """The parent carried a request out and it failed there; `kind` is the class of its exception."""

    def __init__(self, kind: str, code: str, message: str) -> None:
        super().__init__(message or kind)
        self.kind = kind
        self.code = code
        self.message = message


class Stopped(BaseException):
    """The parent wants this child to end; no `except Exception` may swallow it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Reply:
    number: int
    frame: JsonObject


class _StopNotice:
    """Wakes whoever waits for a reply."""


class Channel:
    """What an entry may do with its parent. Safe to use from any thread of the child."""

    def __init__(self, connection: socket.socket, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._encoder = FrameEncoder()
        self._write_lock = threading.Lock()
        self._request_lock = threading.Lock()
        self._request_number = 0
        # SimpleQueue.put may be called from a signal handler; Event and Condition may not.
        self._inbox: queue.SimpleQueue[_Reply | _StopNotice] = queue.SimpleQueue()
        self._stop_reason: str | None = None
        self._is_finished = False
        self._progress_lock = threading.Lock()
        self._progress: JsonObject = {}
        self._has_moved = False
        self._beat_wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    @property
    def stop_reason(self) -> str | None:
        """Why the parent wants this child to end; None while it does not."""
        return self._stop_reason

    def check(self) -> None:
        """Raise `Stopped` once the parent wants this child to end."""
        if self._stop_reason is not None:
            raise Stopped(self._stop_reason)

    def request(
        self, name: str, payload: JsonObject, *, even_if_stopped: bool = False
    ) -> JsonObject:
        """Have the parent carry something out and wait for its answer.

        Args:
            name: what to do, in the words the entry and the parent agreed upon.
            payload: plain JSON.
            even_if_stopped: go on although a cancel arrived: for the last words of a child that
                is given time to save its work.

        Raises:
            RequestFailed: the parent tried and failed.
            Stopped: a cancel arrived before or during the wait.
        """
        with self._request_lock:
            if not even_if_stopped:
                self.check()
            self._request_number += 1
            number = self._request_number
            # What was reported before the request must not arrive after it.
            self._flush_progress()
            self.send("request", {"id": number, "name": name, "payload": payload})
            return self._await_reply(number, even_if_stopped=even_if_stopped)

    def progress(self, **fields: object) -> None:
        """Report where the work stands; cheap, call it at every step.

        Without fields it says no more than that the work moves, with the next heartbeat.
        """
        self._has_moved = self._has_moved or not fields
        with self._progress_lock:
            was_empty = not self._progress
            self._progress.update(fields)
        if fields and was_empty:
            self._beat_wake.put(None)

    def send(self, kind: str, fields: JsonObject | None = None) -> None:
        """Write one frame; for the bootstrap, entries use the methods above.

        Raises:
            FrameError: the fields are no JSON or too large; nothing was written.
        """
        with self._write_lock:
            self._write(kind, fields)

    def finish(self, kind: str, fields: JsonObject) -> None:
        """Say the last progress, the outcome and goodbye; nothing is sent afterwards.

        Raises:
            FrameError: the outcome is no JSON or too large; another one may be sent instead.
        """
        with self._write_lock:
            self._write_pending_progress()
            self._write(kind, fields)
            self._write("bye")
            self._is_finished = True

    def _write(self, kind: str, fields: JsonObject | None = None) -> None:
        if self._is_finished:
            return
        data = self._encoder.encode(kind, fields)
        try:
            self._connection.sendall(data)
        except OSError:
            # Half a frame cannot be taken back, and the parent is gone or deaf.
            _leave()

    def open(self) -> None:
        """Start the threads; the connection is used by nobody else from now on."""
        # The option bounds each blocking write in the kernel without making reads time out.
        self._connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self._limits.write_timeout_s)
        )
        threading.Thread(target=self._read, name="channel-reader", daemon=True).start()
        threading.Thread(target=self._beat, name="channel-beat", daemon=True).start()

    def stop(self, reason: str) -> None:
        """Remember a reason to stop and wake a waiting request; the first reason stays."""
        if self._stop_reason is None:
            self._stop_reason = reason
            self._inbox.put(_StopNotice())

    def _await_reply(self, number: int, *, even_if_stopped: bool) -> JsonObject:
        while True:
            received = self._inbox.get()
            if isinstance(received, _StopNotice):
                if not even_if_stopped:
                    self.check()
            elif received.number == number:
                return _unpack_reply(received.frame)
            # Anything else answers a request that a cancel interrupted.

    def _read(self) -> None:
        decoder = FrameDecoder(FROM_PARENT)
        decoder.skip(1)  # the config frame was read before there was a channel
        try:
            while data := self._connection.recv(65536):
                for frame in decoder.feed(data):
                    if frame["t"] == "cancel":
                        self.stop(str(frame.get("reason", "")))
                    else:
                        self._inbox.put(_Reply(int(frame["id"]), frame))
        except (OSError, FrameError):
            _leave()
        _leave()

    def _beat(self) -> None:
        """Send a heartbeat on time whatever the entry does, and progress not too often."""
        next_beat = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= next_beat:
                self.send("heartbeat")
                if self._has_moved:
                    self._has_moved = False
                    self.send("progress", {"fields": {}})
                next_beat = now + self._limits.heartbeat_s
            try:
                self._beat_wake.get(timeout=max(0.0, next_beat - time.monotonic()))
            except queue.Empty:
                continue
            self._flush_progress()
            time.sleep(self._limits.progress_interval_s)

    def _flush_progress(self) -> None:
        with self._write_lock:
            self._write_pending_progress()

    def _write_pending_progress(self) -> None:
        """Take and write under one lock, so that no other frame slips in between."""
        with self._progress_lock:
            pending, self._progress = self._progress, {}
        if pending:
            self._write("progress", {"fields": pending})


def _unpack_reply(frame: JsonObject) -> JsonObject:
    if "error" in frame:
        error = frame["error"]
        raise RequestFailed(error["kind"], error["code"], error["message"])
    result: JsonObject = frame["result"]
    return result


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    micros = int((seconds - whole) * 1_000_000)
    return whole.to_bytes(8, "little") + micros.to_bytes(8, "little")


def _leave() -> NoReturn:
    os._exit(EXIT_PARENT_GONE)
