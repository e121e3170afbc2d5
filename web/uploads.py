"""The endpoints for uploads: announce, send parts, ask how far. The same on worker and controller.

    POST {base}             {"name", "size", "sha256"}  ─► {"id", "offset", …}
    PUT  {base}/{id}        Content-Range: bytes 0-999/2000
    GET  {base}/{id}        how much is here

Knows neither jobs nor how somebody proves who they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from web.problems import Refused
from web.protocol import UploadRequest
from web.spool import Part, Spool
from web.store import Upload

_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")
_BLOCK_BYTES = 1 << 20


class UploadApi:
    """The endpoints below a path."""

    def __init__(self, spool: Spool, owner_of: Callable[[Request], str]) -> None:
        """Describe them.

        Args:
            spool: where files go.
            owner_of: tells who asks, or refuses.
        """
        self._spool = spool
        self._owner_of = owner_of

    def router(self, base: str) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix=base, tags=["uploads"])
        router.add_api_route("", self.announce, methods=["POST"], status_code=201)
        router.add_api_route("/{upload_id}", self.ask, methods=["GET"])
        router.add_api_route("/{upload_id}", self.receive, methods=["PUT"])
        return router

    def announce(self, wanted: UploadRequest, request: Request) -> dict[str, Any]:
        """Expect a file, or find it here already."""
        return self._shown(self._spool.announce(self._owner_of(request), wanted))

    def ask(self, upload_id: str, request: Request) -> dict[str, Any]:
        """How much of a file is here."""
        return self._shown(self._spool.of(self._owner_of(request), upload_id))

    async def receive(self, upload_id: str, request: Request) -> dict[str, Any]:
        """Take the next part of a file."""
        spool = self._spool
        owner = await run_in_threadpool(self._owner_of, request)
        upload = await run_in_threadpool(spool.of, owner, upload_id)
        if not upload.is_whole:
            part = _part(request)
            with spool.receiving(upload, part):
                await _append(upload, part, spool, request)
                upload = await run_in_threadpool(spool.check, upload)
        return self._shown(upload)

    def _shown(self, upload: Upload) -> dict[str, Any]:
        return {
            "id": upload.id,
            "name": upload.name,
            "size": upload.size,
            "sha256": upload.sha256,
            "offset": self._spool.offset(upload),
            "complete": upload.is_whole,
        }


async def _append(upload: Upload, part: Part, spool: Spool, request: Request) -> None:
    """Write what comes; a part that is cut off leaves what has come."""
    left = part.last - part.first + 1
    waiting = bytearray()
    with spool.path(upload.id).open("ab") as file:
        try:
            async for block in request.stream():
                left -= len(block)
                if left < 0:
                    raise Refused(413, "TOO_LARGE", "the part is longer than its range")
                waiting += block
                if len(waiting) >= _BLOCK_BYTES:
                    await run_in_threadpool(file.write, bytes(waiting))
                    waiting.clear()
        except ClientDisconnect as error:
            raise Refused(400, "CUT_OFF", "the part was cut off") from error
        finally:
            file.write(waiting)
    if left:
        raise Refused(400, "CUT_OFF", f"{left} bytes of the part did not come")


def _part(request: Request) -> Part:
    found = _RANGE.fullmatch(request.headers.get("Content-Range", ""))
    part = Part(*map(int, found.groups())) if found else None
    if part is None or part.last < part.first:
        raise Refused(
            400, "INVALID", "Content-Range: bytes first-last/total", field="Content-Range"
        )
    return part
