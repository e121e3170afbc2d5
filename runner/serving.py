"""Carries out a child's requests in a thread of the parent, one after the other.

Knows neither frames nor what a request means: it calls `serve` and turns what happens into a reply.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from runner.boundary import Raised, boundary
from runner.frames import JsonObject

logger = logging.getLogger(__name__)

Serve = Callable[[str, JsonObject], JsonObject]
Progress = Callable[[JsonObject], None]
Reply = Callable[[JsonObject], None]
"""Takes the fields of a reply frame."""


class StopChild(Exception):
    """Raised by `serve` or `on_progress`: the child must stop, for this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RequestServer:
    """One child's requests; its thread starts with the first one."""

    def __init__(self, serve: Serve, reply: Reply, stop: Callable[[str], None], name: str) -> None:
        self._serve = serve
        self._reply = reply
        self._stop = stop
        self._name = name
        self._requests: queue.SimpleQueue[JsonObject | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def accept(self, frame: JsonObject) -> None:
        """Queue a request frame."""
        self._requests.put(frame)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """Take no more requests; False if the current one is still being carried out."""
        if self._thread is None:
            return True
        self._requests.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (frame := self._requests.get()) is not None:
            self._reply({"id": frame["id"], **self._carry_out(frame["name"], frame["payload"])})

    def _carry_out(self, name: str, payload: JsonObject) -> JsonObject:
        try:
            with boundary(name):
                return {"result": self._serve(name, payload)}
        except Raised as raised:
            if isinstance(raised.error, StopChild):
                self._stop(raised.error.reason)
            else:
                logger.debug("request %s failed", name, exc_info=raised.error)
            return _failure(raised.error)


def _failure(error: Exception) -> JsonObject:
    code = str(getattr(error, "code", "") or "")
    return {"error": {"kind": type(error).__name__, "code": code, "message": str(error)[:100_000]}}
