"""A page for whoever runs the controller: the worker, the queue, the latest jobs. Plain HTML that loads itself again.

Shows ids and states, not names: recordings are their owners' business. Nothing can be changed from here.
"""

from __future__ import annotations

from typing import Any

from fastapi import Response
from jinja2 import Environment, PackageLoader

from web.protocol import rfc3339
from web.store import Job

LATEST = 50
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class StatusPage:
    """The page and its style sheet."""

    def __init__(self) -> None:
        templates = Environment(loader=PackageLoader("web"), autoescape=True)
        templates.filters["moment"] = rfc3339
        self._page = templates.get_template("status.html")
        self._style = templates.get_template("status.css").render()

    def page(self, runtime: dict[str, Any], jobs: list[Job]) -> Response:
        """The page now."""
        html = self._page.render(worker=runtime["remoteWorker"], queue=runtime["queue"], jobs=jobs)
        return Response(html, media_type="text/html; charset=utf-8", headers=_HEADERS)

    def style(self) -> Response:
        """How it looks."""
        return Response(self._style, media_type="text/css; charset=utf-8", headers=_HEADERS)
