"""Counts requests per endpoint: how often, with which answers, how many bytes each way.

`GET /-/requests` reads the counts and `DELETE` sets them to zero; paths under `/-/` are not counted.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devserver.endpoints import endpoint_of

UNANSWERED = "none"
"""Stands for the status of a request whose connection was closed without an answer."""


@dataclass(slots=True)
class Tally:
    """What one endpoint was asked, and what it said; sizes are of bodies, in bytes."""

    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    statuses: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "requests": self.requests,
            "statuses": dict(self.statuses),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }


class Counters:
    """How often which endpoint was asked; safe under threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[str, Tally] = {}

    def add(self, name: str, status: str, *, bytes_in: int, bytes_out: int) -> None:
        """Count one request."""
        with self._lock:
            tally = self._tallies.setdefault(name, Tally())
            tally.requests += 1
            tally.bytes_in += bytes_in
            tally.bytes_out += bytes_out
            tally.statuses[status] += 1

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._tallies.clear()

    def as_json(self) -> dict[str, Any]:
        """Return the total and each endpoint's tally, by name."""
        with self._lock:
            tallies = {name: tally.as_json() for name, tally in sorted(self._tallies.items())}
        total = sum(tally["requests"] for tally in tallies.values())
        return {"total": total, "endpoints": tallies}


class CounterMiddleware:
    """Counts every request once it is over, however it ends."""

    def __init__(self, app: ASGIApp, counters: Counters) -> None:
        self._app = app
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count it."""
        if scope["type"] != "http" or scope["path"].startswith("/-/"):
            await self._app(scope, receive, send)
            return
        status, bytes_in, bytes_out = UNANSWERED, 0, 0

        async def counted_receive() -> Message:
            nonlocal bytes_in
            message = await receive()
            bytes_in += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status, bytes_out
            if message["type"] == "http.response.start":
                status = str(message["status"])
            bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            name = request_name(scope)
            self._counters.add(name, status, bytes_in=bytes_in, bytes_out=bytes_out)


def request_name(scope: Scope) -> str:
    """Name a request: `POST /projects/:id/repository/commits`, `PUT lfs object`, `git-upload-pack`."""
    endpoint = endpoint_of(raw_path(scope))
    return endpoint if endpoint.startswith("git") else f"{scope['method']} {endpoint}"


def raw_path(scope: Scope) -> str:
    """Return the path as it was sent, still percent-encoded."""
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("latin-1") if raw else str(scope["path"])


def show(request: Request) -> Response:
    """Answer with the counts since the start or the last reset."""
    counters: Counters = request.app.state.counters
    return JSONResponse(counters.as_json())


def reset(request: Request) -> Response:
    """Set all counts to zero."""
    counters: Counters = request.app.state.counters
    counters.reset()
    return Response(status_code=204)


routes: list[BaseRoute] = [
    Route("/-/requests", show, methods=["GET"]),
    Route("/-/requests", reset, methods=["DELETE"]),
]
