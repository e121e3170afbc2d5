"""Amazon Comprehend's two calls on a real socket: capitalised words are people, the rest phrases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class EntityServer(ThreadingHTTPServer):
    """Remembers every text it was asked about; `broken` answers come before good ones."""

    daemon_threads = True

    def __init__(self, broken: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.broken = broken
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: EntityServer

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.broken:
            self.server.broken -= 1
            self._answer(500, {"__type": "InternalServerException", "message": "later"})
            return
        call = self.headers["X-Amz-Target"].rpartition(".")[2]
        self.server.asked.append(question["Text"])
        words = question["Text"].replace(".", "").split()
        if call == "DetectEntities":
            people = [
                {"Type": "PERSON", "Text": word, "Score": 0.9} for word in words if word.istitle()
            ]
            self._answer(200, {"Entities": people})
        else:
            phrases = [{"Text": word, "Score": 0.5} for word in words if not word.istitle()]
            self._answer(200, {"KeyPhrases": phrases})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def finding(broken: int = 0) -> Iterator[EntityServer]:
    """Serve until the end of the block."""
    with EntityServer(broken) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
