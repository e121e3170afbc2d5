"""Read-only HTML pages of a project."""

from __future__ import annotations

from starlette.routing import BaseRoute

routes: list[BaseRoute] = []
