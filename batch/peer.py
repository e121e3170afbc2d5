"""Speaks to one of our servers over HTTP: JSON asked and answered, files sent in parts that go on after a cut.

    send(base, path) ─► announce size and SHA-256 ─► parts from where the server's copy ends ─► whole and checked

Every request may be repeated without doubling anything, so passing faults are tried again. Used by a batch towards
the controller, and by the controller towards the worker; knows neither's endpoints but those for uploads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_random_exponential,
)

CONNECT_S = 10.0
READ_S = 60.0
PART_BYTES = 8 << 20
"""What a cut connection costs at most."""
MOST_CUTS = 5
"""Parts in a row that do not arrive."""
_LONGEST_PAUSE_S = 30.0
_SEND_FROM_THERE = frozenset({"UPLOAD_OFFSET", "UPLOAD_BUSY", "UPLOAD_DAMAGED", "CUT_OFF"})


class PeerError(Exception):
    """Root of what a server's answer, or its absence, may raise."""


class Unreachable(PeerError):
    """No answer, or one that says that the server is broken: it may work later."""


class Stopped(PeerError):
    """This program was told to stop meanwhile."""


class Answered(PeerError):
    """The server refuses; `code` is its own."""

    def __init__(self, status: int, code: str, detail: str, retry_after_s: float) -> None:
        """Keep what the answer said."""
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that the server has."""

    upload_id: str
    sha256: str


class Peer:
    """One server; safe from any thread."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        patience_s: float = 0.0,
        connections: int = 10,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Describe it.

        Args:
            url: its root.
            headers: secrets go here; they are sent to this server only.
            patience_s: how long an unreachable server is tried again.
            connections: kept open at the same time.
            is_stopping: asked between tries and between parts.
        """
        self._url = url.rstrip("/")
        self.headers = dict(headers)
        self.patience_s = patience_s
        self._is_stopping = is_stopping
        self._session = requests.Session()
        self._session.auth = self._add_headers
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections))

    def ask(
        self, method: str, path: str, body: Any = None, *, wait_s: float = 0.0, **headers: str
    ) -> dict[str, Any]:
        """Ask and read the answer.

        Args:
            method: of HTTP.
            path: below the root.
            body: sent as JSON.
            wait_s: how long the server may take to answer because it was asked to wait.
            headers: of this request, `_` for `-`.

        Raises:
            PeerError: see its subclasses.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = self._retrying(self._once, method, path, READ_S + wait_s, json=body, headers=named)
        return _object(reply)

    def fetch(self, path: str) -> bytes:
        """Read something that is not an answer but a file.

        Raises:
            PeerError: see its subclasses.
        """
        reply: requests.Response = self._retrying(self._once, "GET", path, READ_S)
        return reply.content

    def send(self, base: str, path: Path, name: str) -> Sent:
        """Send a file, or the rest of it that is not there yet.

        Raises:
            PeerError: see its subclasses.
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        wanted = {"name": name, "size": path.stat().st_size, "sha256": digest}
        upload = self.ask("POST", base, wanted)
        cuts = 0
        while not upload["complete"]:
            if self._is_stopping():
                raise Stopped
            try:
                upload = self._send_part(f"{base}/{upload['id']}", path, upload)
                cuts = 0
            except PeerError as error:
                cuts += 1
                if cuts > MOST_CUTS or not _is_passing(error):
                    raise
                upload = self.ask("GET", f"{base}/{upload['id']}")
        return Sent(upload["id"], digest)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def _send_part(self, url: str, path: Path, upload: Mapping[str, Any]) -> dict[str, Any]:
        first, size = int(upload["offset"]), int(upload["size"])
        with path.open("rb") as file:
            file.seek(first)
            part = file.read(PART_BYTES)
        told = {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{size}"}
        return _object(self._once("PUT", url, READ_S, data=part, headers=told))

    def _once(self, method: str, path: str, read_s: float, **more: Any) -> requests.Response:
        try:
            reply = self._session.request(
                method,
                f"{self._url}{path}",
                timeout=(CONNECT_S, read_s),
                allow_redirects=False,
                **more,
            )
        except requests.RequestException as error:
            raise Unreachable(f"{self._url}: {_plain(error)}") from error
        if reply.status_code in (429, 502, 503, 504) or reply.status_code == 500:
            raise Unreachable(f"{self._url} answers {reply.status_code} {_detail(reply)}")
        if not reply.ok or reply.is_redirect:
            raise _answered(reply)
        return reply

    def _retrying(self, call: Callable[..., requests.Response], *args: Any, **more: Any) -> Any:
        if not self.patience_s:
            return call(*args, **more)
        retrying = Retrying(
            retry=retry_if_exception_type(Unreachable),
            wait=wait_random_exponential(max=_LONGEST_PAUSE_S),
            stop=self._stop,
            reraise=True,
        )
        return retrying(call, *args, **more)

    def _stop(self, state: RetryCallState) -> bool:
        return self._is_stopping() or stop_before_delay(self.patience_s)(state)

    def _add_headers(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As `auth` they win over a .netrc, and a redirect to another host loses them.
        request.headers.update(self.headers)
        return request


def _is_passing(error: PeerError) -> bool:
    return isinstance(error, Unreachable) or (
        isinstance(error, Answered) and error.code in _SEND_FROM_THERE
    )


def _object(reply: requests.Response) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], reply.json())
    except ValueError as error:
        raise Unreachable(f"{reply.url} answers something that is no JSON") from error


def _answered(reply: requests.Response) -> Answered:
    try:
        told = reply.json()
        code, detail = str(told["code"]), str(told["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = "INVALID", reply.reason
    after = reply.headers.get("Retry-After", "")
    return Answered(reply.status_code, code, detail, float(after) if after.isdigit() else 0.0)


def _detail(reply: requests.Response) -> str:
    return _answered(reply).detail


def _plain(error: Exception) -> str:
    """What happened, without the objects that requests wraps around it."""
    cause = error.args[0] if error.args else error
    return str(getattr(cause, "reason", cause))
