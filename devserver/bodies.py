"""Request bodies and query strings as plain nested values, the way Rack reads them.

JSON, URL-encoded and multipart bodies end in the same shape: `actions[][file_path]=a` and
{"actions": [{"file_path": "a"}]} are equal. Knows no endpoint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.types import Message

from devserver import errors

_KEY = re.compile(r"\A([^\[\]]+)((?:\[[^\[\]]*\])*)\Z")
_STEP = re.compile(r"\[([^\[\]]*)\]")


async def read_body(request: Request, limit: int) -> tuple[dict[str, Any], int]:
    """Return the parameters in a request's body, and the body's size in bytes.

    Raises:
        Refusal: 413 above the limit, 400 for text that is not JSON.
    """
    body = await _read_limited(request, limit)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body:
        return {}, 0
    if content_type == "application/json":
        return _from_json(body), len(body)
    if content_type == "multipart/form-data":
        return await _from_multipart(request, body), len(body)
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    return nest(pairs), len(body)


def nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Build nested values from flat keys: `a`, `a[]`, `a[b]` and `a[][b]`."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        match = _KEY.match(key)
        name, steps = (match[1], _STEP.findall(match[2])) if match else (key, [])
        _place(result, name, steps, value)
    return result


def _place(target: dict[str, Any], name: str, steps: list[str], value: str) -> None:
    if not steps:
        target[name] = value
        return
    step, *rest = steps
    if step:
        _place(_child(target, name), step, rest, value)
        return
    items = target.setdefault(name, [])
    if not isinstance(items, list):
        items = target[name] = []
    if not rest:
        items.append(value)
        return
    # `a[][b]` belongs to the last element until that one has a `b`.
    if not items or not isinstance(items[-1], dict) or rest[0] in items[-1]:
        items.append({})
    _place(items[-1], rest[0], rest[1:], value)


def _child(target: dict[str, Any], name: str) -> dict[str, Any]:
    child = target.setdefault(name, {})
    if not isinstance(child, dict):
        child = target[name] = {}
    return child


async def _read_limited(request: Request, limit: int) -> bytes:
    """Read the whole body, also one too large: a client that sends first gets to see the answer."""
    announced = int(request.headers.get("content-length") or 0)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if max(size, announced) <= limit:
            chunks.append(chunk)
    if size <= limit:
        return b"".join(chunks)
    raise errors.PlainError(
        413,
        f"RequestBody: upload failed: the upload size {size} is over maximum of {limit} bytes: "
        "entity is too large",
    )


def _from_json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
        if rb"\ud" in body.lower():
            # Half a surrogate pair is no text that Git or a header could carry.
            json.dumps(document, ensure_ascii=False).encode()
    except ValueError:
        raise errors.InvalidJsonError from None
    if not isinstance(document, dict):
        raise errors.InvalidJsonError
    return document


async def _from_multipart(request: Request, body: bytes) -> dict[str, Any]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    pairs: list[tuple[str, str]] = []
    async with Request(request.scope, receive).form(max_part_size=len(body)) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                pairs.append((name, (await value.read()).decode("utf-8", "replace")))
            else:
                pairs.append((name, value))
    return nest(pairs)
