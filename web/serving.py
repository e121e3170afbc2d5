"""A server's life: its data directory locked, an application listening in a thread, signals in the main one.

    lock ─► listen ─► say where ─► … signals … ─► stop listening ─► whoever worked ends

Knows no endpoint.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from web.errors import CannotCreate, CannotListen, Locked

SHUTDOWN_S = 10
"""What open requests get when the server stops."""


@contextmanager
def only_server(folder: Path) -> Iterator[None]:
    """Hold a data directory for the block.

    Raises:
        CannotCreate: it cannot be written.
        Locked: another server has it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = (folder / "server.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise CannotCreate(f"cannot use {folder}: {error}", "choose another --data-dir") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            holder = handle.read().strip() or "another server"
            raise Locked(
                f"{folder} is in use by {holder}", "stop it, or give another --data-dir"
            ) from error
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        handle.flush()
        yield


@contextmanager
def listening(app: FastAPI, host: str, port: int) -> Iterator[str]:
    """Answer requests inside the block; yields the address.

    Raises:
        CannotListen: the port cannot be had.
    """
    try:
        listener = socket.create_server((host, port), backlog=512, family=_family(host))
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {host}:{port}: {error}", "choose another --port"
        ) from error
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=SHUTDOWN_S,
        server_header=False, lifespan="off",
    )  # fmt: skip
    server = uvicorn.Server(config)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # Outside the main thread uvicorn leaves the process's signals alone.
    thread = threading.Thread(target=server.run, args=([listener],), name="http")
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
