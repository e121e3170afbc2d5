"""Keeps hold of the open client connections, so that a fault can cut one.

ASGI has no way to hang up without an answer; the socket's transport has. Connections are found by
the client's address and port, which is what a request knows about itself.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

Address = tuple[str, int]


class Connections:
    """The connections of one server, by client address."""

    def __init__(self) -> None:
        self._transports: dict[Address, asyncio.BaseTransport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """Return the protocol class for `uvicorn.Config(http=…)` that registers connections here."""
        transports = self._transports

        class TrackedProtocol(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in asyncio.Protocol
                self.tracked = _address(transport)
                transports[self.tracked] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                transports.pop(self.tracked, None)
                super().connection_lost(exc)

        return TrackedProtocol

    def hang_up(self, client: Address) -> None:
        """Close a connection, if the client has not; what was written to it before still arrives."""
        if (transport := self._transports.get(client)) is not None:
            transport.close()


def _address(transport: asyncio.BaseTransport) -> Address:
    host, port = transport.get_extra_info("peername")[:2]
    return str(host), int(port)
