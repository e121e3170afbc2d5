"""Refuses requests whose body is larger than any answer of ours needs; recordings have their own limit."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from web.problems import problem

MOST_BYTES = 1 << 20


class BodyLimit:
    """Goes by the announced length; a body of unknown length is refused."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "http" and not _is_part(scope):
            headers = dict(scope["headers"])
            length = headers.get(b"content-length", b"0")
            if b"transfer-encoding" in headers or not length.isdigit():
                refused = problem(411, "LENGTH_REQUIRED", "say how long the body is")
                await refused(scope, receive, send)
                return
            if int(length) > MOST_BYTES:
                refused = problem(413, "TOO_LARGE", f"at most {MOST_BYTES} bytes")
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_part(scope: Scope) -> bool:
    return scope["method"] == "PUT" and "/uploads/" in scope["path"]
