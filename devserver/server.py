"""Runs a world on a socket: in this process until a signal, or in a thread of it for tests.

The socket is bound before the world is told its address, so port 0 (any free port) works.
"""

from __future__ import annotations

import contextlib
import fcntl
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from devserver.app import create_app
from devserver.faults import FaultSwitch
from devserver.world import World

HOST = "127.0.0.1"
_GRACE_S = 5


class RootInUseError(Exception):
    """Two servers must not keep the same state."""


def bind(world: World, port: int) -> socket.socket:
    """Take a port of the loopback interface (0: a free one) and tell the world its address."""
    # Only sockets that name TCP get TCP_NODELAY from asyncio; without it every answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise
    world.external_url = f"http://{HOST}:{listener.getsockname()[1]}"
    return listener


@contextlib.contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Hold a root for this process alone.

    Raises:
        RootInUseError: Another server runs on it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / "server.lock").open("w") as lock:
        try:
            # The system lets go of it when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RootInUseError(f"{root}: another devserver runs on this root") from None
        yield


def serve(
    world: World,
    listener: socket.socket,
    fault_config: Mapping[str, object],
    on_ready: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress are finished first."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn stops at the signal and then raises it again for the handler it found.
        signal.signal(number, lambda *_: None)
    _server(create_app(world, fault_config), on_ready).run(sockets=[listener])


@contextlib.contextmanager
def serving_in_thread(world: World, fault_config: Mapping[str, object]) -> Iterator[str]:
    """Serve from a thread while the block runs; gives the address."""
    listener = bind(world, 0)
    ready = threading.Event()
    server = _server(create_app(world, fault_config), ready.set)
    thread = threading.Thread(target=server.run, args=([listener],), name="devserver")
    thread.start()
    try:
        ready.wait()
        yield world.external_url
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def _server(app: Starlette, on_ready: Callable[[], None]) -> _Server:
    switch: FaultSwitch = app.state.faults
    config = uvicorn.Config(
        app,
        http=switch.connections.protocol(),
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return _Server(config, on_ready)
