"""Runs `git http-backend` as a CGI program for one request, streaming both ways.

    client ─► request body ─► stdin ┐
                                    ├ git http-backend ─► upload-pack / receive-pack ─► hooks
    client ◄─ response body ◄─ stdout ┘

Knows CGI and processes; who may do what was decided before (`git_http.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
_PASSED_HEADERS = {
    "content-type": "CONTENT_TYPE",
    "content-length": "CONTENT_LENGTH",
    "content-encoding": "HTTP_CONTENT_ENCODING",
    "git-protocol": "HTTP_GIT_PROTOCOL",
}


@dataclass(frozen=True, slots=True)
class BackendReply:
    """The ASGI answer that runs the program; `on_done` runs before the reply ends."""

    environment: Mapping[str, str]
    on_done: Callable[[], Awaitable[None]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        request = Request(scope, receive)
        process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**self.environment, **_request_environment(request)},
        )
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        feeder = asyncio.create_task(_feed(request, stdin, process.kill))
        complaints = asyncio.create_task(stderr.read())
        try:
            await _send_head(stdout, send)
            while chunk := await stdout.read(_CHUNK_BYTES):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await feeder
            if await process.wait() or await complaints:
                text = (await complaints).decode("utf-8", "replace").strip()
                logger.warning("git http-backend ended with %s: %s", process.returncode, text)
            if self.on_done is not None:
                await self.on_done()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            feeder.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()
            await complaints


def base_environment() -> dict[str, str]:
    """Return what every git process here runs with: nothing of the operator's own settings."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }


def config_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return git settings as the environment variables git reads them from."""
    environment = {"GIT_CONFIG_COUNT": str(len(settings))}
    for index, (key, value) in enumerate(settings.items()):
        environment[f"GIT_CONFIG_KEY_{index}"] = key
        environment[f"GIT_CONFIG_VALUE_{index}"] = value
    return environment


def _request_environment(request: Request) -> dict[str, str]:
    environment = {
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.url.query,
        "REMOTE_ADDR": request.client.host if request.client else "",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    for header, variable in _PASSED_HEADERS.items():
        if (value := request.headers.get(header)) is not None:
            environment[variable] = value
    return environment


async def _feed(request: Request, stdin: asyncio.StreamWriter, kill: Callable[[], None]) -> None:
    """Copy the request body to the program; a client that leaves takes the program with it."""
    try:
        async for chunk in request.stream():
            stdin.write(chunk)
            await stdin.drain()
    except ClientDisconnect:
        with contextlib.suppress(ProcessLookupError):
            kill()
    except (BrokenPipeError, ConnectionResetError):
        # The program has heard enough; what it answers is still wanted.
        pass
    finally:
        stdin.close()


async def _send_head(stdout: asyncio.StreamReader, send: Send) -> None:
    """Turn the CGI header block into the start of the response."""
    status, headers = 200, MutableHeaders()
    while line := (await stdout.readline()).strip().decode("latin-1"):
        name, _, value = line.partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        else:
            headers[name] = value.strip()
    await send({"type": "http.response.start", "status": status, "headers": headers.raw})
