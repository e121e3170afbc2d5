"""The one place where bytes leave for a GitLab server: a `requests` session with our rules built in.

Every request, python-gitlab's and our own streams alike, passes `send`: it has a timeout, carries the
token to our own origin only, follows redirects only to hosts we trust, tells the server's time, slows
down when the server says so, and turns each failure into an error of ours. Knows no endpoint and does
not try again; `gitlab_session` does.
"""

from __future__ import annotations

import base64
import io
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from gitlab_jobs.backoff import Breaker, RetryBudget, RetryOptions
from gitlab_jobs.errors import Denied
from gitlab_jobs.gitlab_errors import Astray, NotData, RequestFailed, fault, http_date, refusal

logger = logging.getLogger(__name__)

MAX_REDIRECTS = 5
MAX_PACE_S = 30.0
SCARCE_SHARE = 0.1
"""Below this share of the rate limit the rest is spread over the time until it is renewed."""
DENIED_PAUSE_S = 300.0
"""After a 401 the token is tried again at most this often: servers ban addresses that go on."""
READS = frozenset({"GET", "HEAD"})
GIT_USER = "oauth2"
BLOCK_BYTES = 64 << 10
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """Limits of every exchange: seconds to connect, between bytes, and for a whole API reply.

    `storage_hosts` are hosts (or "host:port") besides GitLab that may serve LFS objects.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    total_s: float = 120.0
    transfer_read_s: float = 60.0
    connections: int = 8
    storage_hosts: frozenset[str] = frozenset()
    user_agent: str = "scriptorium"
    retry: RetryOptions = field(default_factory=RetryOptions)

    @property
    def timeout(self) -> tuple[float, float]:
        """Seconds to connect and between bytes, for API calls."""
        return (self.connect_s, self.read_s)

    @property
    def transfer_timeout(self) -> tuple[float, float]:
        """The same for large objects and archives."""
        return (self.connect_s, self.transfer_read_s)


class Origin(NamedTuple):
    """Where a URL points: what credentials are bound to."""

    scheme: str
    host: str
    port: int | None


def origin(url: str) -> Origin:
    """The origin of a URL, with the port written out."""
    parts = urlsplit(url)
    return Origin(
        parts.scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(parts.scheme)
    )


class NoAuth(AuthBase):
    """Send the headers as they are: neither our token nor an entry of a `.netrc` file."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Change nothing."""
        return request


class OwnOriginAuth(AuthBase):
    """A credential that goes to one origin and nowhere else."""

    def __init__(self, value: str, home: Origin) -> None:
        self.value = value
        self._home = home

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign the request if it goes home."""
        if origin(str(request.url)) == self._home:
            request.headers["Authorization"] = self.value
        return request


class Transport(requests.Session):
    """Safe to use from several threads; raises errors of `errors` and `gitlab_errors` only."""

    def __init__(
        self, url: str, token: str, limits: TransportOptions, stop: threading.Event
    ) -> None:
        super().__init__()
        self.limits = limits
        self.clock = ServerClock()
        self.budget = RetryBudget(limits.retry.budget_share, limits.retry.budget_burst)
        self.requests_sent = 0
        self.max_redirects = MAX_REDIRECTS
        self.headers["User-Agent"] = limits.user_agent
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_maxsize=limits.connections)
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        self._home = origin(url)
        self._stop = stop
        self._breakers: dict[Origin, Breaker] = {}
        self._pace = _Pace(self.clock)
        self.use_token(token)

    def use_token(self, token: str) -> None:
        """Send this token from now on."""
        # Bearer, not PRIVATE-TOKEN: GitLab takes both, and HTTP libraries know what the first one is.
        self.auth = self._bearer = OwnOriginAuth(f"Bearer {token}", self._home)
        pair = base64.b64encode(f"{GIT_USER}:{token}".encode()).decode("ascii")
        self.basic_auth = OwnOriginAuth(f"Basic {pair}", self._home)
        self._denied_until = 0.0

    def check_allowed(self, url: str) -> None:
        """Raise `Astray` for an address that is neither our origin nor a named storage host."""
        there = origin(url)
        hosts = self.limits.storage_hosts
        named = there.host in hosts or f"{there.host}:{there.port}" in hosts
        if there != self._home and not (named and there.scheme in {"https", self._home.scheme}):
            raise Astray(
                f"the server sent us to {there.scheme}://{there.host}:{there.port}, which is neither "
                "GitLab itself nor one of the allowed storage hosts"
            )

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Build one request; an address that is none is a mistake in the settings."""
        try:
            return super().prepare_request(request)
        except requests.RequestException as error:
            raise fault(error, str(request.method)) from error

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one request; a reply of status 400 or more becomes an exception."""
        place = f"{request.method} {str(request.url).split('?', 1)[0]}"
        kwargs["timeout"] = kwargs.get("timeout") or self.limits.timeout
        at_once = not kwargs.get("stream")
        breaker = self._breakers.setdefault(origin(str(request.url)), Breaker(self.limits.retry))
        self._before(place, breaker)
        try:
            response = super().send(request, **{**kwargs, "stream": True})
            if at_once:
                _read_whole(response, self.limits.total_s)
        except (requests.RequestException, HTTPError) as error:
            breaker.failed()
            raise fault(error, place) from error
        self._after(response, breaker)
        if response.status_code >= 400:
            with response:
                self._refuse(response)
        if response.is_redirect and response.request.method not in READS:
            response.close()
            raise Astray(f"{place} was sent elsewhere: is this the server's own address?")
        if is_html(response.headers):
            response.close()
            raise NotData(f"an HTML page instead of data from {place}", sent=True, status=502)
        return response

    @contextmanager
    def open_stream(self, method: str, url: str, **kwargs: Any) -> Iterator[requests.Response]:
        """Open a reply whose body is read piece by piece; its faults become errors of ours too."""
        response = self.request(
            method, url, stream=True, timeout=self.limits.transfer_timeout, **kwargs
        )
        with response:
            try:
                yield response
            except (requests.RequestException, HTTPError) as error:
                raise fault(error, f"{method} {url.split('?', 1)[0]}") from error

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where to follow a reply: only a read is asked again, elsewhere, without asking anybody."""
        is_read = resp.request.method in READS
        return super().get_redirect_target(resp) if is_read else None

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Follow a redirect only where it may lead, and without credentials to another origin."""
        target = str(prepared_request.url)
        self.check_allowed(target)
        if origin(target) != origin(str(response.request.url)):
            prepared_request.headers.pop("Authorization", None)

    def _before(self, place: str, breaker: Breaker) -> None:
        if time.monotonic() < self._denied_until:
            raise Denied("GitLab refused the access token; not asking again so soon")
        if wait_s := breaker.wait_s():
            raise RequestFailed(
                f"{place}: not sent, the server has been failing", sent=False, retry_after_s=wait_s
            )
        if delay_s := self._pace.delay_s():
            logger.info("waiting %.1f s: the rate limit is nearly used up", delay_s)
            self._stop.wait(delay_s)
        self.budget.earn()
        self.requests_sent += 1

    def _after(self, response: requests.Response, breaker: Breaker) -> None:
        if response.status_code >= 500:
            breaker.failed()
        else:
            breaker.succeeded()
        if origin(response.url) == self._home:
            self.clock.set_from(response.headers)
            self._pace.note(response.headers)

    def _refuse(self, response: requests.Response) -> None:
        error = refusal(response)
        sent = response.request.headers.get("Authorization")
        ours = sent in {self._bearer.value, self.basic_auth.value}
        if isinstance(error, Denied) and ours:
            self._denied_until = time.monotonic() + DENIED_PAUSE_S
        raise error


def blocks(response: requests.Response, total_s: float) -> Iterator[bytes]:
    """A reply's body as it arrives; a server that only trickles is given up after `total_s`.

    Unlike `iter_content` it hands on what there is instead of waiting for a full block: no byte is
    lost when the connection breaks, and the clock is looked at whenever something arrives.
    """
    deadline = time.monotonic() + total_s
    while block := response.raw.read1(BLOCK_BYTES, decode_content=True):
        if time.monotonic() > deadline:
            raise RequestFailed(f"{response.url}: not received within {total_s:.0f} s", sent=True)
        yield block


def is_html(headers: Mapping[str, str]) -> bool:
    """Whether a reply is a page for people: a proxy's, a maintenance notice, another program."""
    return headers.get("Content-Type", "").lower().startswith("text/html")


class ServerClock:
    """The server's time, kept between replies by this machine's monotonic clock."""

    def __init__(self) -> None:
        self._reading: tuple[datetime, float] | None = None

    def set_from(self, headers: Mapping[str, str]) -> None:
        """Take the time from a reply's `Date`, if it has one."""
        moment = http_date(headers.get("Date", ""))
        if moment is not None:
            self._reading = (moment, time.monotonic())

    def now(self) -> datetime:
        """The time there; this machine's own before the first reply."""
        if self._reading is None:
            return datetime.now(UTC)
        moment, read_at = self._reading
        return moment + timedelta(seconds=time.monotonic() - read_at)

    def skew_s(self) -> float:
        """How far this machine's clock is ahead of the server's."""
        return (datetime.now(UTC) - self.now()).total_seconds()


def _read_whole(response: requests.Response, total_s: float) -> None:
    """Read the body as `response.content` would, but within a time for all of it."""
    if response.is_redirect:
        return
    with closing(response.raw):  # a connection that was read to its end is in the pool by then
        body = b"".join(blocks(response, total_s))
    response.raw = io.BytesIO(body)


class _Pace:
    """Spreads what is left of a rate limit, where the server tells it (GitLab: since 18.6)."""

    def __init__(self, clock: ServerClock) -> None:
        self._clock = clock
        self._next_at = 0.0

    def note(self, headers: Mapping[str, str]) -> None:
        try:
            limit = int(headers["RateLimit-Limit"])
            left = int(headers["RateLimit-Remaining"])
            reset = int(headers["RateLimit-Reset"])
        except (KeyError, ValueError):
            return
        if left < limit * SCARCE_SHARE:
            until_s = max(0.0, reset - self._clock.now().timestamp())
            self._next_at = time.monotonic() + min(until_s / (left + 1), MAX_PACE_S)

    def delay_s(self) -> float:
        return max(0.0, self._next_at - time.monotonic())
