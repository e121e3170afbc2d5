"""What GitLab's Rails and Workhorse do around every request, as three small ASGI layers.

`EncodedPath` keeps `%2F` in API paths until a route has matched, `StandardHeaders` adds the headers
that every response carries, `ConditionalGet` turns a matching `If-None-Match` into 304.
"""

from __future__ import annotations

import json
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class EncodedPath:
    """Routes API requests by their path as sent: an encoded slash is no separator."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        raw_path: bytes = scope.get("raw_path") or b""
        if raw_path.startswith(b"/api/"):
            scope = {**scope, "path": raw_path.decode("latin-1")}
        await self._app(scope, receive, send)


class StandardHeaders:
    """Adds request id, run time and the security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = uuid.uuid4().hex

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["X-Runtime"] = f"{time.perf_counter() - started:.6f}"
                headers["X-Gitlab-Meta"] = json.dumps(
                    {"correlation_id": request_id, "version": "1"}, separators=(",", ":")
                )
                headers["X-Content-Type-Options"] = "nosniff"
                headers["X-Frame-Options"] = "SAMEORIGIN"
                headers["Vary"] = "Origin"
            await send(message)

        await self._app(scope, receive, send_with_headers)


class ConditionalGet:
    """Answers 304 without a body if the client already holds what would be sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        known = Headers(scope=scope).get("if-none-match") if scope["type"] == "http" else None
        if known is None or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        tags = {tag.strip() for tag in known.split(",")}
        matched = False

        async def send_unless_known(message: Message) -> None:
            nonlocal matched
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                matched = message["status"] == 200 and headers.get("etag") in tags
                if matched:
                    message["status"] = 304
                    del headers["content-length"], headers["content-type"]
            elif matched:
                message = {**message, "body": b""}
            await send(message)

        await self._app(scope, receive, send_unless_known)
