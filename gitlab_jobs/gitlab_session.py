"""A signed-in connection to one GitLab server: python-gitlab's client, GraphQL, retries, the clock.

GraphQL is posted through the same HTTP session instead of python-gitlab's `GraphQL` class: that one
brings a second HTTP stack and a parser (measured: 9 MiB and 50 ms in an idle supervisor), sleeps where
a stop cannot reach it, and hides the headers (`Date`, `Retry-After`) that we live by. python-gitlab
itself is imported at the first call, so that importing this module stays cheap.

Knows no project; `gitlab_catalog`, `gitlab_store` and `lfs_transfer` say what to ask for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from gitlab_jobs.backoff import retrying
from gitlab_jobs.errors import Denied, Forbidden, Missing, StoreError
from gitlab_jobs.git_objects import is_blob
from gitlab_jobs.gitlab_errors import RequestFailed
from gitlab_jobs.gitlab_transport import ServerClock, Transport, TransportOptions, blocks

if TYPE_CHECKING:
    from gitlab import Gitlab

logger = logging.getLogger(__name__)

T = TypeVar("T")

GRAPHQL_PATH = "/api/graphql"
NO_GRAPHQL_CODES = frozenset({"undefinedField", "argumentNotAccepted", "undefinedType"})
LESS_AT_ONCE = ("Timeout on", "complexity", "timed out")


class GraphQLUnsupported(StoreError):
    """The server has no GraphQL, or one that does not know what we ask for."""


class GitLabSession:
    """Safe to use from several threads; raises errors of `errors` only.

    Args:
        url: the server's root, with its relative root if it has one.
        token: an access token with scope `api`; never logged.
        stop: set to end all waiting: what is under way fails with its last error, new calls still
            get one attempt each.
        options: limits, see `TransportOptions`.
        reload_token: asked once after a refused token; a different answer is tried.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        stop: threading.Event | None = None,
        options: TransportOptions | None = None,
        reload_token: Callable[[], str] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.stop = stop or threading.Event()
        self.options = options or TransportOptions()
        self.transport = Transport(self.url, token, self.options, self.stop)
        self._token = token
        self._reload_token = reload_token
        self._lock = threading.Lock()

    @cached_property
    def client(self) -> Gitlab:
        """The python-gitlab client; it signs nothing and never retries, the transport does."""
        from gitlab import Gitlab

        return Gitlab(self.url, session=self.transport, keep_base_url=True)

    @property
    def clock(self) -> ServerClock:
        """The server's time."""
        return self.transport.clock

    def call(self, operation: Callable[[], T]) -> T:
        """Carry out something idempotent, trying again as long as that makes sense."""
        attempts = retrying(RequestFailed, self.options.retry, self.transport.budget, self.stop)
        return attempts(lambda: self.once(operation))

    def once(self, operation: Callable[[], T]) -> T:
        """Carry out an operation in one attempt; all failures are errors of ours."""
        from gitlab.exceptions import GitlabError

        try:
            try:
                return operation()
            except Denied:
                if not self._renew_token():
                    raise
                return operation()
        except GitlabError as error:
            # The transport has dealt with statuses; what is left is a reply that is no valid JSON.
            raise RequestFailed(f"unreadable reply: {error}", sent=True) from error

    def graphql(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Ask once; returns `data`, in which parts that failed are None.

        Raises:
            GraphQLUnsupported: this server cannot answer such a query.
            RequestFailed: with status 503 if a smaller query might succeed.
        """
        body = {"query": query, "variables": dict(variables)}
        reply = self.once(lambda: self._post_graphql(body))
        data, errors = reply.get("data"), reply.get("errors") or []
        if errors:
            _raise_whole_failure(errors, has_data=isinstance(data, dict))
        if not isinstance(data, dict):
            raise RequestFailed("a GraphQL reply without data", sent=True)
        return data

    def read_blob(self, project_id: str, object_id: str, max_bytes: int) -> bytes:
        """The exact bytes of a file by its blob id, but not more than `max_bytes` of them."""
        url = f"{self.url}/api/v4/projects/{project_id}/repository/blobs/{object_id}/raw"

        def receive() -> bytes:
            content = b""
            with self.transport.open_stream("GET", url) as reply:
                for block in blocks(reply, self.options.total_s):
                    content += block
                    if len(content) >= max_bytes:
                        break
            if len(content) < max_bytes and not is_blob(content, object_id):
                raise RequestFailed(f"not the bytes of blob {object_id}", sent=True)
            return content[:max_bytes]

        return self.call(receive)

    def close(self) -> None:
        """Close all connections."""
        self.transport.close()

    def _post_graphql(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            reply = self.client.http_post(f"{self.url}{GRAPHQL_PATH}", post_data=body)
        except (Missing, Forbidden) as error:
            raise GraphQLUnsupported(f"no GraphQL for us: {error}") from error
        if not isinstance(reply, dict):
            raise RequestFailed("a GraphQL reply that is not JSON", sent=True)
        return reply

    def _renew_token(self) -> bool:
        if self._reload_token is None:
            return False
        with self._lock:
            token = self._reload_token()
            if token == self._token:
                return False
            self._token = token
            self.transport.use_token(token)
        logger.info("the access token was refused; using the one that replaced it")
        return True


def _raise_whole_failure(errors: list[Any], *, has_data: bool) -> None:
    """Raise if a reply's errors concern the query as a whole; log them if they concern parts."""
    first = errors[0] if isinstance(errors[0], dict) else {}
    said = str(first.get("message", errors[0]))[:300]
    code = (first.get("extensions") or {}).get("code")
    if code in NO_GRAPHQL_CODES:
        raise GraphQLUnsupported(said)
    if any(phrase in said for phrase in LESS_AT_ONCE):
        raise RequestFailed(said, sent=True, status=503)
    if not has_data:
        raise StoreError(f"GraphQL: {said}")
    logger.debug("parts of a GraphQL reply failed: %s", said)
