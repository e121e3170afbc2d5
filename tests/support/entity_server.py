"""Amazon Comprehend's two calls on a real socket: capitalised words are people, the rest phrases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from support.http_stub import HttpStub, Reply, Request


@dataclass
class EntityService:
    """Remembers every text it was asked about; `broken` answers come before good ones."""

    broken: int = 0
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, request: Request) -> Reply:
        if self.broken:
            self.broken -= 1
            return _reply(500, {"__type": "InternalServerException", "message": "later"})
        text = json.loads(request.body)["Text"]
        self.asked.append(text)
        words = text.replace(".", "").split()
        if request.headers["X-Amz-Target"].endswith(".DetectEntities"):
            names = [word for word in words if word.istitle()]
            people = [{"Type": "PERSON", "Text": name, "Score": 0.9} for name in names]
            return _reply(200, {"Entities": people})
        phrases = [{"Text": word, "Score": 0.5} for word in words if not word.istitle()]
        return _reply(200, {"KeyPhrases": phrases})


def _reply(status: int, content: dict[str, Any]) -> Reply:
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    return Reply(status, json.dumps(content).encode(), headers)


@contextmanager
def finding(broken: int = 0) -> Iterator[EntityService]:
    """Serve until the end of the block."""
    service = EntityService(broken)
    with HttpStub(service.answer) as stub:
        service.url = stub.url
        yield service
