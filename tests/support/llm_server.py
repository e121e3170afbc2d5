"""A language model's endpoint on a real socket: chat completions and Bedrock's Converse.

What it answers is a list of replies, taken in turn; the last one is repeated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from support.http_stub import HttpStub, Request
from support.http_stub import Reply as HttpReply

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """`content` is the model's own text; with another `status`, `content` is the error's message."""

    content: str = '{"changes": []}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    cut_off: bool = False


def changes(*proposals: tuple[int, str, str]) -> Reply:
    """A reply with corrections: line, words there, words instead."""
    listed = [
        {"line": line, "original": original, "corrected": corrected, "reason": "misheard"}
        for line, original, corrected in proposals
    ]
    return Reply(json.dumps({"changes": listed}))


class LanguageModelServer:
    """Remembers every request's path and body."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._replies = list(replies)
        self._lock = Lock()
        self.requests: list[tuple[str, JsonObject]] = []
        self.keys: set[str] = set()
        """What stood in the requests' `Authorization`."""
        self.url = ""

    def answer(self, request: Request) -> HttpReply:
        with self._lock:
            self.requests.append((request.path, json.loads(request.body)))
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.keys.add(headers.get("authorization", ""))
            reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        time.sleep(reply.after_s)
        form = _converse if "/converse" in request.path else _chat
        headers = {"Content-Type": "application/json", **reply.headers}
        return HttpReply(reply.status, json.dumps(form(reply)).encode(), headers)


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
    server = LanguageModelServer(replies)
    with HttpStub(server.answer) as stub:
        server.url = stub.url
        yield server
