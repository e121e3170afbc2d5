"""GitLab's two layers of rate limits: throttles in front of the application, limits inside it.

Throttles (`ThrottleMiddleware`) count requests per user in fixed windows and refuse with plain text;
application limits (`ApplicationLimiter`) belong to single endpoints and refuse with JSON. Both are
set by `limits.py`; without settings nothing is counted.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devserver.errors import ApiError
from devserver.limits import Limits, Rate
from devserver.people import Credential
from devserver.world import World

_FILES = re.compile(r"\A/api/v4/projects/[^/]+/repository/files/")
_LFS = re.compile(r"\A/.+\.git/(?:info/lfs|gitlab-lfs)/")
_GIT = re.compile(r"\A/.+\.git/(?:info/refs|git-(?:upload|receive)-pack)\Z")
_TOO_MANY = "This {what} has been requested too many times. Try again later."


class Windows:
    """Counts events per key in fixed windows of wall-clock time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[object, ...], tuple[int, int]] = {}

    def count(self, key: tuple[object, ...], rate: Rate) -> int:
        """Add one event and return how many there are in the current window."""
        window = int(time.time() // rate.period_s)
        with self._lock:
            known_window, seen = self._counts.get(key, (window, 0))
            seen = seen + 1 if known_window == window else 1
            self._counts[key] = (window, seen)
            return seen


@dataclass(frozen=True, slots=True)
class _Verdict:
    """One request as a throttle counted it."""

    name: str
    rate: Rate
    observed: int

    @property
    def refused(self) -> bool:
        return self.observed > self.rate.requests

    def headers(self) -> Iterator[tuple[str, str]]:
        yield "RateLimit-Name", self.name
        # The limit is told per minute, whatever the window.
        yield "RateLimit-Limit", str(math.ceil(self.rate.requests * 60 / self.rate.period_s))
        yield "RateLimit-Observed", str(self.observed)
        yield "RateLimit-Remaining", str(max(self.rate.requests - self.observed, 0))
        yield "RateLimit-Reset", str(self.reset)

    @property
    def reset(self) -> int:
        window = time.time() // self.rate.period_s
        return math.ceil((window + 1) * self.rate.period_s)

    def refusal(self) -> PlainTextResponse:
        retry_after = max(self.reset - int(time.time()), 1)
        headers = dict(self.headers())
        headers["RateLimit-ResetTime"] = formatdate(self.reset, usegmt=True)
        headers["Retry-After"] = str(retry_after)
        return PlainTextResponse("Retry later\n", 429, headers)


class ThrottleMiddleware:
    """Refuses signed-in users who ask too often; requests without a token are not counted."""

    def __init__(self, app: ASGIApp, world: World) -> None:
        self._app = app
        self._world = world
        self._windows = Windows()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the request, then refuse it or pass it on."""
        verdict = self._verdict(scope) if scope["type"] == "http" else None
        if verdict is None:
            await self._app(scope, receive, send)
        elif verdict.refused:
            await verdict.refusal()(scope, receive, send)
        else:
            await self._app(scope, receive, self._announcing(send, verdict))

    def _verdict(self, scope: Scope) -> _Verdict | None:
        name, rate = _throttle(self._world.limits, scope["path"])
        if rate is None:
            return None
        user_id = _user_id(self._world, scope)
        if user_id is None:
            return None
        return _Verdict(name, rate, self._windows.count((name, user_id), rate))

    def _announcing(self, send: Send, verdict: _Verdict) -> Send:
        if not self._world.limits.rate_limit_headers:
            return send

        async def announce(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(dict(verdict.headers()))
            await send(message)

        return announce


class ApplicationLimiter:
    """The limits of single endpoints."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._windows = Windows()
        self._rates: Mapping[str, tuple[Rate, str]] = {
            "projects_list": (limits.projects_list, "endpoint"),
            "project_show": (limits.project_show, "endpoint"),
            "members_list": (limits.members_list, "endpoint"),
            "archive": (limits.archive, "archive"),
            "large_blob": (limits.large_blob, "raw endpoint"),
            "large_write": (limits.large_write, "endpoint"),
        }

    def count(self, name: str, *discriminator: object) -> None:
        """Count one request of a kind, e.g. per user and project.

        Raises:
            ApiError: 429, when there were too many.
        """
        if not self._limits.application_limits:
            return
        rate, what = self._rates[name]
        if self._windows.count((name, *discriminator), rate) > rate.requests:
            raise ApiError(
                429,
                {"error": _TOO_MANY.format(what=what)},
                {"Retry-After": str(math.ceil(rate.period_s))},
            )


def _throttle(limits: Limits, path: str) -> tuple[str, Rate | None]:
    if _FILES.match(path) and limits.throttle_files_api:
        return "throttle_authenticated_files_api", limits.throttle_files_api
    if path.startswith("/api/"):
        return "throttle_authenticated_api", limits.throttle_api
    if _LFS.match(path):
        return "throttle_authenticated_git_lfs", limits.throttle_git_lfs
    if _GIT.match(path):
        return "throttle_authenticated_git_http", limits.throttle_git_http
    return "", None


def _user_id(world: World, scope: Scope) -> int | None:
    headers = Headers(scope=scope)
    token = headers.get("private-token") or QueryParams(scope["query_string"]).get("private_token")
    if token is None:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        token = _password(value) if scheme.lower() == "basic" else value
    found = world.authenticate(token)
    return found.user.id if isinstance(found, Credential) else None


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
