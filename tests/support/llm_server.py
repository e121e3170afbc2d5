"""A language model's endpoint on a real socket: chat completions and Bedrock's Converse.

What it answers is a list of replies, taken in turn; the last one is repeated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """`content` is the model's own text; with another `status`, `content` is the error's message."""

    content: str = '{"changes": []}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    cut_off: bool = False
    raw: bytes | None = None


def changes(*proposals: tuple[int, str, str]) -> Reply:
    """A reply with corrections: line, words there, words instead."""
    listed = [
        {"line": line, "original": original, "corrected": corrected, "reason": "misheard"}
        for line, original, corrected in proposals
    ]
    return Reply(json.dumps({"changes": listed}))


class LanguageModelServer(ThreadingHTTPServer):
    """Remembers every request's path and body."""

    daemon_threads = True

    def __init__(self, replies: Sequence[Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._replies = list(replies)
        self._lock = Lock()
        self.requests: list[tuple[str, JsonObject]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, body: JsonObject) -> Reply:
        with self._lock:
            self.requests.append((path, body))
            return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


class _Handler(BaseHTTPRequestHandler):
    server: LanguageModelServer

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        reply = self.server.answer(self.path, json.loads(self.rfile.read(length)))
        time.sleep(reply.after_s)
        form: Callable[[Reply], JsonObject] = _converse if "/converse" in self.path else _chat
        body = reply.raw if reply.raw is not None else json.dumps(form(reply)).encode()
        try:
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the client waited no longer

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _chat(reply: Reply) -> JsonObject:
    if reply.status != 200:
        return {"error": {"message": reply.content, "type": "error"}}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": reply.content},
        "finish_reason": "length" if reply.cut_off else "stop",
    }
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def _converse(reply: Reply) -> JsonObject:
    if reply.status != 200:
        return {"message": reply.content}
    try:
        used = {"toolUse": {"toolUseId": "1", "name": "answer", "input": json.loads(reply.content)}}
    except ValueError:
        used = {"text": reply.content}
    return {
        "output": {"message": {"role": "assistant", "content": [used]}},
        "stopReason": "max_tokens" if reply.cut_off else "tool_use",
        "usage": {"inputTokens": 100, "outputTokens": 10, "totalTokens": 110},
        "metrics": {"latencyMs": 1},
    }


@contextmanager
def serving(*replies: Reply) -> Iterator[LanguageModelServer]:
    """Serve replies until the end of the block."""
    with LanguageModelServer(replies) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
