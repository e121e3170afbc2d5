"""One API request as an endpoint sees it: who asks, the parameters, the project, the answer.

    def show(call: Call) -> Response: ...
    routes = [api("GET", "/projects/{id}", show)]

Endpoints are plain functions that run in a worker thread. They raise the refusals of `errors.py` and
answer with `Json`. Parameters come from query and body together, as in GitLab.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devserver import auth, errors
from devserver.bodies import nest, read_body
from devserver.people import Credential, User
from devserver.repository import Repository
from devserver.throttles import ApplicationLimiter
from devserver.world import Project, World

_TRUE = frozenset({"true", "t", "1", "on", "yes", "y"})
_FALSE = frozenset({"false", "f", "0", "off", "no", "n", ""})


class Json(Response):
    """A JSON answer with the weak ETag that Rails puts over a body it sends whole."""

    media_type = "application/json"

    def __init__(
        self, content: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        body = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        super().__init__(body.encode("utf-8", "replace"), status, dict(headers or {}))
        if status in (200, 201):
            digest = hashlib.sha256(self.body).hexdigest()[:32]
            self.headers["ETag"] = f'W/"{digest}"'
            self.headers["Cache-Control"] = "max-age=0, private, must-revalidate"


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose token has been checked; `path` holds the decoded parts of the route."""

    request: Request
    world: World
    credential: Credential | None
    path: Mapping[str, str]
    params: Mapping[str, Any]
    body_size: int

    @property
    def user(self) -> User | None:
        """Who asks; None for nobody in particular."""
        return None if self.credential is None else self.credential.user

    def signed_in(self) -> User:
        """Return who asks, or refuse with 401."""
        if self.user is None:
            raise errors.unauthorized()
        return self.user

    def project(self) -> Project:
        """Return the project of the route, or 404 if there is none that this user can see."""
        project = self.world.find_project(self.path["id"])
        if project is None or not self.world.can_see(self.user, project):
            raise errors.not_found("Project")
        return project

    def code(self) -> tuple[Project, Repository]:
        """Return project and repository, or refuse with 403 if this user may not read code."""
        project = self.project()
        if not self.world.can_read_code(self.user, project):
            raise errors.forbidden()
        return project, self.world.repository(project)

    def limit(self, name: str, *discriminator: object) -> None:
        """Count this request against an application limit of this name."""
        limiter: ApplicationLimiter = self.request.app.state.limiter
        limiter.count(name, *discriminator)

    # Parameters

    def text(self, name: str) -> str | None:
        """Return a parameter as text; None if absent."""
        value = self.params.get(name)
        return None if value is None else str(value)

    def require(self, *names: str) -> None:
        """Refuse with 400 if one of the parameters is absent or blank."""
        problems: list[str] = []
        for name in names:
            if self.params.get(name) is None:
                problems.append(f"{name} is missing")
            if not self.text(name):
                problems.append(f"{name} is empty")
        if problems:
            raise errors.ParameterError(", ".join(problems))

    def number(self, name: str) -> int | None:
        """Return a parameter as a whole number."""
        value = self.params.get(name)
        if value is None or value == "":
            return None
        try:
            return int(str(value))
        except ValueError:
            raise errors.ParameterError(f"{name} is invalid") from None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a parameter as a truth value."""
        value = self.params.get(name)
        if value is None:
            return default
        text = str(value).lower()
        if text not in _TRUE | _FALSE:
            raise errors.ParameterError(f"{name} is invalid")
        return text in _TRUE

    def choice(self, name: str, values: Collection[str], default: str) -> str:
        """Return a parameter that must be one of a few values."""
        value = self.text(name) or default
        if value not in values:
            raise errors.ParameterError(f"{name} does not have a valid value")
        return value

    def moment(self, name: str) -> datetime | None:
        """Return a parameter as a moment (ISO 8601; UTC if it names no zone)."""
        value = self.text(name)
        if not value:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise errors.ParameterError(f"{name} is invalid") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Handler = Callable[[Call], Response]


def api(
    method: str, path: str, handler: Handler, *, scopes: Collection[str] | None = None
) -> Route:
    """Return the route of an API endpoint; scopes default to what the method needs."""
    if scopes is None:
        scopes = auth.READ_SCOPES if method in ("GET", "HEAD") else auth.WRITE_SCOPES

    async def endpoint(request: Request) -> Response:
        world: World = request.app.state.world
        credential = auth.sign_in(request, world)
        if credential is not None:
            auth.require_scope(credential, scopes)
        body: dict[str, Any] = {}
        size = 0
        if method not in ("GET", "HEAD"):
            body, size = await read_body(request, world.limits.max_request_bytes)
        call = Call(
            request,
            world,
            credential,
            {name: unquote(value) for name, value in request.path_params.items()},
            nest(request.query_params.multi_items()) | body,
            size,
        )
        return await run_in_threadpool(handler, call)

    return Route(f"/api/v4{path}", endpoint, methods=[method], name=handler.__name__)
