"""The parent's view of what a child said so far, and which frame may come next.

    hello ─► (ready) ─► { heartbeat | progress | request }* ─► result | error ─► bye ─► end of stream

Pure: frames and times come in. Knows no socket; `Minder` acts on what it finds here.
"""

from __future__ import annotations

from runner.frames import FrameError, JsonObject
from runner.limits import Limits


class Conversation:
    """Keeps the rules and the clocks of one child's frames."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._started_at = now
        self._heard_at = now
        self._moved_at = now
        self.worker_pid: int | None = None
        self.result: JsonObject | None = None
        self.error: JsonObject | None = None
        self.said_bye = False
        self.open_requests = 0

    def hear(self, frame: JsonObject, now: float) -> None:
        """Take note of a frame.

        Raises:
            FrameError: this frame may not come now, or lacks a field.
        """
        kind = frame["t"]
        self._check_order(kind)
        self._check_fields(kind, frame)
        self._heard_at = now
        if kind != "heartbeat":
            self._moved_at = now
        if kind == "hello":
            self.worker_pid = frame["pid"]
        elif kind == "request":
            self.open_requests += 1
        elif kind == "result":
            self.result = frame["result"]
        elif kind == "error":
            self.error = frame
        elif kind == "bye":
            self.said_bye = True

    def replied(self, now: float) -> None:
        """Take note that a request was answered."""
        self.open_requests -= 1
        self._moved_at = now

    def postpone(self, by_s: float) -> None:
        """Give back time during which this machine slept."""
        self._started_at += by_s
        self._heard_at += by_s
        self._moved_at += by_s

    def deadline(self) -> tuple[float, str]:
        """The next moment at which silence means trouble, and what to say then."""
        limits = self._limits
        if self.worker_pid is None:
            at = self._started_at + limits.start_timeout_s
            return at, f"did not start within {limits.start_timeout_s:g} s (start_timeout_s)"
        at = self._heard_at + limits.heartbeat_timeout_s
        text = f"no heartbeat for {limits.heartbeat_timeout_s:g} s (heartbeat_timeout_s)"
        moved_by = self._moved_at + limits.progress_timeout_s
        if not self.open_requests and moved_by < at:
            return moved_by, f"no progress for {limits.progress_timeout_s:g} s (progress_timeout_s)"
        return at, text

    def _check_order(self, kind: str) -> None:
        if self.said_bye:
            raise FrameError(f"{kind} frame after bye")
        if (kind == "hello") != (self.worker_pid is None):
            raise FrameError(f"{kind} frame {'before' if kind != 'hello' else 'after'} hello")
        is_over = self.result is not None or self.error is not None
        if is_over != (kind == "bye"):
            raise FrameError(f"{kind} frame {'after' if is_over else 'without'} an outcome")

    @staticmethod
    def _check_fields(kind: str, frame: JsonObject) -> None:
        for name, expected in _FIELDS.get(kind, {}).items():
            if not isinstance(frame.get(name), expected):
                raise FrameError(f"{kind} frame without a proper {name!r}")


_FIELDS: dict[str, dict[str, type]] = {
    "hello": {"pid": int, "in_group": bool},
    "progress": {"fields": dict},
    "request": {"id": int, "name": str, "payload": dict},
    "result": {"result": dict},
    "error": {"kind": str, "code": str, "message": str, "traceback": str, "chain": list},
}
