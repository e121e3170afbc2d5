"""The fault switch: makes requests slow, refused, cut off or unanswered, on demand."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send


class FaultSwitch:
    """Which faults are on."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self.config = dict(config)


class FaultMiddleware:
    """Applies the switch to every request."""

    def __init__(self, app: ASGIApp, switch: FaultSwitch) -> None:
        self._app = app
        self._switch = switch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        await self._app(scope, receive, send)


routes: list[BaseRoute] = []
