"""A TCP relay in front of a server, which can stop listening and start again: a server that is down.

with Relay(server.url) as relay:
    relay.refuse(); ...; relay.admit()
    relay.cut_after(100_000)
    relay.cut_answers_after(100_000)
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit


class Relay:
    """Listens at `url` for the server at another address."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._port = 0
        self._left: float = float("inf")
        self._left_back: float = float("inf")
        self.brought_bytes = 0
        self.cuts = 0
        self.admit()
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.refuse()
        for thread in self._threads:
            thread.join()

    def admit(self) -> None:
        """Listen, at the same port as before."""
        listener = socket.create_server(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        self._listener = listener
        self._start(self._accept, listener)

    def refuse(self) -> None:
        """Stop listening, and cut every connection."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut_after(self, sent_bytes: int) -> None:
        """Cut the connection that brings the last of so many bytes to the server, once."""
        self._left = sent_bytes

    def cut_answers_after(self, brought_bytes: int) -> None:
        """Cut the connection that brings the last of so many bytes from the server, once."""
        self._left_back = brought_bytes

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            self._start(self._pass_on, client, server)
            self._start(self._pass_on, server, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                target.sendall(block)
                is_answer = target.getpeername() != self._target
                if self._is_cut_back(len(block)) if is_answer else self._is_cut(len(block)):
                    break
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()

    def _is_cut(self, sent_bytes: int) -> bool:
        self._left -= sent_bytes
        if self._left > 0:
            return False
        self._left = float("inf")
        self.cuts += 1
        return True

    def _is_cut_back(self, brought_bytes: int) -> bool:
        self.brought_bytes += brought_bytes
        self._left_back -= brought_bytes
        if self._left_back > 0:
            return False
        self._left_back = float("inf")
        return True

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()
