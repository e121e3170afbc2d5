"""Serves a registry of metrics over HTTP for as long as a block runs: `curl http://127.0.0.1:PORT/metrics`.

On the loopback interface unless told otherwise: the numbers are no secret, but nobody else's business. Knows no
metric; imported only by who was asked to serve.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

LOOPBACK = "127.0.0.1"


@contextmanager
def serving(registry: CollectorRegistry, port: int, host: str = LOOPBACK) -> Iterator[int]:
    """Answer scrapes inside the block.

    Args:
        registry: asked anew for every scrape.
        port: 0 takes any that is free.
        host: the interface to listen on.

    Yields:
        The port.

    Raises:
        OSError: the port cannot be had.
    """
    server, thread = start_http_server(port, host, registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
