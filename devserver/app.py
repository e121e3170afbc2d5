"""Puts the embedded GitLab together: routes of every module, middleware, error shapes.

    request ─► counters ─► faults ─► headers, 304 ─► throttles ─► router ─► endpoint ─► World
                                                                    │    (a worker thread)
      /api/v4/...    rest_*.py            /GROUP/PROJECT.git/...    git_http.py, lfs.py
      /api/graphql   graphql_app.py       /-/..., /GROUP/PROJECT    counters, faults, pages

Endpoints find the shared objects at `request.app.state`: `world`, `limiter`, `faults`, `counters`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route

from devserver import (
    counters,
    errors,
    faults,
    git_http,
    graphql_app,
    lfs,
    pages,
    rest_archive,
    rest_branches,
    rest_commits,
    rest_events,
    rest_files,
    rest_members,
    rest_projects,
    rest_tree,
    rest_users,
)
from devserver.middleware import ConditionalGet, EncodedPath, StandardHeaders
from devserver.throttles import ApplicationLimiter, ThrottleMiddleware
from devserver.world import World

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_API_ROUTES: list[BaseRoute] = [
    *rest_users.routes,
    *rest_projects.routes,
    *rest_tree.routes,
    *rest_files.routes,
    *rest_commits.routes,
    *rest_branches.routes,
    *rest_archive.routes,
    *rest_members.routes,
    *rest_events.routes,
    *graphql_app.routes,
]


def create_app(world: World, fault_config: Mapping[str, object] | None = None) -> Starlette:
    """Return the ASGI application that serves a world."""
    fault_switch = faults.FaultSwitch(fault_config or {})
    request_counters = counters.Counters()
    app = Starlette(
        routes=routes(),
        middleware=[
            Middleware(counters.CounterMiddleware, request_counters),
            Middleware(faults.FaultMiddleware, fault_switch),
            Middleware(StandardHeaders),
            Middleware(ConditionalGet),
            Middleware(EncodedPath),
            Middleware(ThrottleMiddleware, world),
        ],
        exception_handlers={
            errors.Refusal: errors.render,
            HTTPException: errors.render_http,
            Exception: errors.render_crash,
        },
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.world = world
    app.state.limiter = ApplicationLimiter(world.limits)
    app.state.faults = fault_switch
    app.state.counters = request_counters
    return app


def routes() -> list[BaseRoute]:
    """Return every route; the catch-all pages of projects come last."""
    return [
        *_API_ROUTES,
        Route("/api/v3/{rest:path}", _gone, methods=_METHODS),
        Route("/api/{rest:path}", _no_endpoint, methods=_METHODS),
        *counters.routes,
        *faults.routes,
        *lfs.routes,
        *git_http.routes,
        *pages.routes,
    ]


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    """Give endpoints as many worker threads as the world asks for."""
    world: World = app.state.world
    anyio.to_thread.current_default_thread_limiter().total_tokens = world.limits.threads
    yield


async def _gone(_request: Request) -> Response:
    return JSONResponse({"error": "API V3 is no longer supported. Use API V4 instead."}, 410)


async def _no_endpoint(request: Request) -> Response:
    """Tell a wrong verb from a path that nobody answers, before the pages claim it."""
    if any(route.matches(request.scope)[0] is Match.PARTIAL for route in _API_ROUTES):
        raise errors.ParameterError("405 Not Allowed", status=405)
    raise errors.ParameterError("404 Not Found", status=404)
