"""Puts the embedded GitLab together: routes of every module, middleware, error shapes.

    request ─► counters ─► faults ─► router ─► endpoint (a worker thread) ─► World
                                       │
      /api/v4/...      rest_*.py       │  /GROUP/PROJECT.git/...   git_http.py, lfs.py
      /api/graphql     graphql_app.py  │  /-/..., /GROUP/PROJECT   counters, faults, pages

Endpoints find the shared objects at `request.app.state`: `world`, `faults`, `counters`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from devserver import counters, errors, faults, git_http, graphql_app, lfs, pages
from devserver.world import World


def create_app(world: World, fault_config: Mapping[str, object] | None = None) -> Starlette:
    """Return the ASGI application that serves a world."""
    fault_switch = faults.FaultSwitch(fault_config or {})
    request_counters = counters.Counters()
    app = Starlette(
        routes=routes(),
        middleware=[
            Middleware(counters.CounterMiddleware, request_counters),
            Middleware(faults.FaultMiddleware, fault_switch),
        ],
        exception_handlers={
            errors.Refusal: errors.render,
            HTTPException: errors.render_http,
            Exception: errors.render_crash,
        },
        lifespan=_lifespan,
    )
    app.state.world = world
    app.state.faults = fault_switch
    app.state.counters = request_counters
    return app


def routes() -> list[BaseRoute]:
    """Return every route; the catch-all pages of projects come last."""
    return [
        *graphql_app.routes,
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
