"""The fault switch: makes chosen requests slow, refused, cut off or unanswered, on demand.

    rule = which requests (method, endpoint, skip, count, probability) + what happens to them
           pass       nothing but the latency
           status     a forced answer; the endpoint does not run
           drop       the connection closes before the endpoint runs
           truncate   the endpoint runs, its reply breaks off
           lose_reply the endpoint runs to its end, nobody is told

The first matching rule that fires decides. Rules come from the world file's `[faults]` table and from
`POST /-/faults`; `DELETE /-/faults` clears them. Paths under `/-/` never fail.
"""

from __future__ import annotations

import asyncio
import fnmatch
import random
import threading
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devserver.connections import Connections
from devserver.counters import raw_path
from devserver.endpoints import endpoint_of


class FaultRule(BaseModel):
    """Which requests fail, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["pass", "status", "drop", "truncate", "lose_reply"] = "pass"
    method: str = "*"
    endpoint: str = "*"
    """Glob over the endpoint's name as counted (`/projects/:id/repository/*`, `lfs batch`) or path."""

    skip: NonNegativeInt = 0
    """Let this many matching requests through first."""
    count: NonNegativeInt | None = None
    """Fire at most so often; None: for ever."""
    probability: float = Field(default=1.0, ge=0, le=1)
    seed: int = 0

    latency_s: NonNegativeFloat = 0.0
    """Wait before anything else happens."""
    status: int = Field(default=503, ge=200, le=599)
    body: str | dict[str, Any] = ""
    """Of a forced answer; a mapping is sent as JSON."""
    headers: dict[str, str] = {}
    """Of a forced answer; `{url}` stands for the address that was asked."""
    keep_bytes: NonNegativeInt = 1
    """How much of the body a truncated reply still carries."""

    def matches(self, method: str, path: str) -> bool:
        """Tell whether a request is one the rule is about."""
        return self.method in ("*", method) and any(
            fnmatch.fnmatchcase(name, self.endpoint) for name in (endpoint_of(path), path)
        )

    def forced_response(self, url: str) -> Response:
        """Return the answer of the `status` action to a request for `url`."""
        headers = {name: value.replace("{url}", url) for name, value in self.headers.items()}
        if isinstance(self.body, str):
            return PlainTextResponse(self.body, self.status, headers)
        return JSONResponse(self.body, self.status, headers)


class FaultConfig(BaseModel):
    """The `[faults]` table, and the body of `POST /-/faults`."""

    model_config = ConfigDict(extra="forbid")

    rules: list[FaultRule] = []


class _ArmedRule:
    """A rule and what it has done so far."""

    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self.seen = 0
        self.fired = 0
        self._random = random.Random(rule.seed)

    def fires(self) -> bool:
        rule = self.rule
        self.seen += 1
        if self.seen <= rule.skip or self.fired == rule.count:
            return False
        if self._random.random() >= rule.probability:
            return False
        self.fired += 1
        return True


class FaultSwitch:
    """The rules that are on; safe under threads."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self.connections = Connections()
        self._lock = threading.Lock()
        self._armed: list[_ArmedRule] = []
        self.add(FaultConfig.model_validate(config).rules)

    def add(self, rules: list[FaultRule]) -> None:
        """Put rules behind those already on."""
        with self._lock:
            self._armed.extend(map(_ArmedRule, rules))

    def clear(self) -> None:
        """Switch everything off."""
        with self._lock:
            self._armed.clear()

    def choose(self, method: str, path: str) -> FaultRule | None:
        """Return the rule that decides over a request, and note that it fired."""
        with self._lock:
            for armed in self._armed:
                if armed.rule.matches(method, path) and armed.fires():
                    return armed.rule
        return None

    def as_json(self) -> list[dict[str, Any]]:
        """Return the rules with how often each saw a request and fired."""
        with self._lock:
            return [
                {**armed.rule.model_dump(), "seen": armed.seen, "fired": armed.fired}
                for armed in self._armed
            ]


class FaultMiddleware:
    """Applies the switch to every request."""

    def __init__(self, app: ASGIApp, switch: FaultSwitch) -> None:
        self._app = app
        self._switch = switch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or let it fail."""
        if scope["type"] != "http" or scope["path"].startswith("/-/"):
            await self._app(scope, receive, send)
            return
        rule = self._switch.choose(scope["method"], raw_path(scope))
        if rule is None:
            await self._app(scope, receive, send)
            return
        await asyncio.sleep(rule.latency_s)
        if rule.action == "status":
            await rule.forced_response(_url(scope))(scope, receive, send)
        elif rule.action == "drop":
            await self._hang_up(scope, receive)
        elif rule.action == "lose_reply":
            await self._app(scope, receive, _swallow)
            await self._hang_up(scope, receive)
        elif rule.action == "truncate":
            await self._app(scope, receive, _Truncated(send, rule.keep_bytes))
            await self._hang_up(scope, receive)
        else:
            await self._app(scope, receive, send)

    async def _hang_up(self, scope: Scope, receive: Receive) -> None:
        self._switch.connections.hang_up(tuple(scope["client"]))
        # Only once the server knows the client is gone may the request end without an answer.
        while (await receive())["type"] != "http.disconnect":
            pass


def _url(scope: Scope) -> str:
    """The address that was asked, without the host, as it was sent."""
    query = scope["query_string"].decode("latin-1")
    return f"{raw_path(scope)}?{query}" if query else raw_path(scope)


async def _swallow(_message: Message) -> None:
    """Take a reply that nobody will get."""


class _Truncated:
    """Sends the head of a reply with the length it promises, and too little of the body."""

    def __init__(self, send: Send, keep_bytes: int) -> None:
        self._send = send
        self._left = keep_bytes

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            length = int(dict(message["headers"]).get(b"content-length", self._left + 1))
            self._left = max(0, min(self._left, length - 1))
            await self._send(message)
        elif message["type"] == "http.response.body":
            kept = message.get("body", b"")[: self._left]
            self._left -= len(kept)
            await self._send({"type": "http.response.body", "body": kept, "more_body": True})


def show(request: Request) -> Response:
    """Answer with the rules that are on."""
    switch: FaultSwitch = request.app.state.faults
    return JSONResponse({"rules": switch.as_json()})


async def add(request: Request) -> Response:
    """Switch rules on: one rule, a list of them, or `{"rules": […]}`."""
    switch: FaultSwitch = request.app.state.faults
    try:
        body = await request.json()
        if isinstance(body, list):
            body = {"rules": body}
        elif isinstance(body, dict) and "rules" not in body:
            body = {"rules": [body]}
        switch.add(FaultConfig.model_validate(body).rules)
    except ValidationError as error:
        return JSONResponse({"error": error.errors(include_url=False, include_context=False)}, 400)
    except ValueError as error:
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse({"rules": switch.as_json()}, 201)


def clear(request: Request) -> Response:
    """Switch all faults off."""
    switch: FaultSwitch = request.app.state.faults
    switch.clear()
    return Response(status_code=204)


routes: list[BaseRoute] = [
    Route("/-/faults", show, methods=["GET"]),
    Route("/-/faults", add, methods=["POST"]),
    Route("/-/faults", clear, methods=["DELETE"]),
]
