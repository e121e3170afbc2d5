"""Read-only pages for a person with a browser: projects, jobs, notebooks, files, commits.

URLs have GitLab's shapes (`/GROUP/PROJECT/-/blob/REF/PATH`). Public projects are open to everyone; for
others `?private_token=…` signs the browser in with a cookie that only these pages look at. Nothing
on a page runs: no scripts, everything escaped, foreign HTML reduced to text. A job's report is HTML of
somebody else's: it is shown in a sandbox without scripts, forms or requests.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from devserver import auth
from devserver.diffs import diff_entities
from devserver.errors import Refusal
from devserver.page_content import read_file
from devserver.page_jobs import REPORT, read_jobs
from devserver.page_notebook import CellView, NotebookView, Take, is_notebook, read_notebook
from devserver.people import Credential, User
from devserver.repository import Repository
from devserver.world import Project, World

COOKIE = "devserver_token"
CELLS_PER_PAGE = 300
COMMITS_PER_PAGE = 40
NEWEST_COMMITS = 8
NEWEST_TAKES = 4
LISTED_PROJECTS = 200
CACHED_NOTEBOOKS = 256

_TAKES_FOLDER = ".project/attachments"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; media-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


_REPORT_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "media-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class PageError(Refusal):
    """A page that cannot be shown."""

    def __init__(self, status: int, title: str, text: str) -> None:
        super().__init__(status)
        self._values = {"title": title, "text": text, "user": None}

    def response(self) -> Response:
        """Return the answer."""
        html = _environment().get_template("error.html").render(self._values)
        return HTMLResponse(html, self.status, _HEADERS)


@dataclass(frozen=True)
class Visit:
    """One visit to a page of a project, at a ref and path if the page has them."""

    request: Request
    world: World
    user: User | None
    project: Project
    ref: str
    path: str = ""

    @cached_property
    def repository(self) -> Repository:
        """The project's repository."""
        return self.world.repository(self.project)

    def page(self, template: str, **values: Any) -> Response:
        """Render a page about the project."""
        values |= {"project": self.project, "ref": self.ref, "path": self.path}
        return _page(self.request, self.user, template, values)

    def number(self, name: str) -> int:
        """Return a positive number from the query string, 1 if there is none."""
        text = self.request.query_params.get(name, "")
        return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 9 else 1


def list_projects(request: Request) -> Response:
    """Show every project the visitor may see, the liveliest first."""
    world, user = _who(request)
    visible = [project for project in world.projects if world.can_see(user, project)]
    visible.sort(key=lambda project: project.last_activity_at, reverse=True)
    values = {"projects": visible[:LISTED_PROJECTS], "total": len(visible)}
    return _page(request, user, "projects.html", values)


def show_project(visit: Visit) -> Response:
    """Show jobs, notebooks, the newest commits and the files at the top."""
    repository, ref = visit.repository, visit.ref
    commit_id = repository.resolve(ref)
    notebooks = [
        (entry.path, _notebook(repository, commit_id or "", entry.id))
        for entry in repository.entries(ref, recursive=True) or ()
        if entry.type == "blob" and entry.path.endswith(".codex")
    ]
    commits = [
        commit for commit, _ in zip(repository.log(ref), range(NEWEST_COMMITS), strict=False)
    ]
    return visit.page(
        "project.html",
        clone_url=f"{visit.world.external_url}/{visit.project.path}.git",
        jobs=read_jobs(repository, ref),
        notebooks=notebooks,
        newest=_newest_takes(notebooks),
        commits=commits,
        entries=repository.entries(ref) or (),
    )


def show_tree(visit: Visit) -> Response:
    """List a folder."""
    entries = visit.repository.entries(visit.ref, visit.path)
    if entries is None:
        raise _not_found(f"There is no folder {visit.path} at {visit.ref}.")
    return visit.page("tree.html", entries=entries)


def show_blob(visit: Visit) -> Response:
    """Show a file: as a notebook, a recording, or text."""
    content = read_file(visit.world, visit.project, visit.ref, visit.path)
    if content is None:
        raise _not_found(f"There is no file {visit.path} at {visit.ref}.")
    if not is_notebook(visit.path):
        return visit.page("blob.html", content=content)
    commit_id = visit.repository.resolve(visit.ref)
    notebook = _notebook(visit.repository, commit_id or "", content.blob_id)
    number = visit.number("page")
    start = (number - 1) * CELLS_PER_PAGE
    return visit.page(
        "notebook.html",
        notebook=notebook,
        cells=notebook.cells[start : start + CELLS_PER_PAGE],
        number=number,
        pages=max(1, -(-len(notebook.cells) // CELLS_PER_PAGE)),
    )


def send_raw(visit: Visit) -> Response:
    """Send a file's bytes, or those of the LFS object it points to, as text or as a download."""
    content = read_file(visit.world, visit.project, visit.ref, visit.path)
    if content is None:
        raise _not_found(f"There is no file {visit.path} at {visit.ref}.")
    if content.is_text:
        return content.response(visit.request, "text/plain; charset=utf-8", "inline")
    return content.response(visit.request, "application/octet-stream", "attachment")


def send_audio(visit: Visit) -> Response:
    """Send a recording for playing, with the media type of its content."""
    content = read_file(visit.world, visit.project, visit.ref, visit.path)
    media_type = content.audio_type if content else None
    if content is None or media_type is None:
        raise _not_found(f"There is no recording {visit.path} at {visit.ref}.")
    return content.response(visit.request, media_type, "inline")


def show_report(visit: Visit) -> Response:
    """Show what a job says about itself."""
    content = read_file(visit.world, visit.project, visit.ref, visit.path)
    folder, _, name = visit.path.rpartition("/")
    if content is None or name != REPORT or not folder.startswith("gpu_jobs/job_"):
        raise _not_found(f"There is no report {visit.path} at {visit.ref}.")
    return HTMLResponse(content.text(), headers=_REPORT_HEADERS)


def show_commits(visit: Visit) -> Response:
    """List the commits of a ref, or those that touched a path."""
    number = visit.number("page")
    start = (number - 1) * COMMITS_PER_PAGE
    log = enumerate(visit.repository.log(visit.ref, visit.path))
    shown = [commit for index, commit in _until(log, start + COMMITS_PER_PAGE) if index >= start]
    has_more = len(shown) > COMMITS_PER_PAGE
    return visit.page(
        "commits.html", commits=shown[:COMMITS_PER_PAGE], number=number, has_more=has_more
    )


def show_commit(visit: Visit) -> Response:
    """Show what one commit changed."""
    repository = visit.repository
    commit_id = repository.resolve(visit.ref)
    if commit_id is None:
        raise _not_found(f"There is no commit {visit.ref}.")
    commit = repository.commit(commit_id)
    parents = commit.parent_ids
    changes = diff_entities(repository.diff(parents[0], commit.id)) if parents else None
    added = repository.entries(commit.id, recursive=True) if changes is None else None
    return visit.page("commit.html", commit=commit, changes=changes, added=added)


def _newest_takes(notebooks: list[tuple[str, NotebookView]]) -> list[tuple[str, CellView, Take]]:
    """Find the takes that were made last and count, with their cells, so that they can be heard at once."""
    current = (
        (path, cell, cell.current_take)
        for path, notebook in notebooks
        for cell in notebook.cells
        if cell.is_verse
    )
    playable = [(path, cell, take) for path, cell, take in current if take and take.path]
    return heapq.nlargest(NEWEST_TAKES, playable, key=lambda found: found[2].created_at_ms)


@lru_cache(maxsize=CACHED_NOTEBOOKS)
def _notebook(repository: Repository, commit_id: str, blob_id: str) -> NotebookView:
    """Read a notebook as of a commit; the commit decides which takes are there."""
    takes = repository.entries(commit_id, _TAKES_FOLDER, recursive=True) or ()
    return read_notebook(repository.blob(blob_id) or b"", {entry.path for entry in takes})


def _page(request: Request, user: User | None, template: str, values: dict[str, Any]) -> Response:
    html = _environment().get_template(template).render(user=user, **values)
    response = HTMLResponse(html, headers=_HEADERS)
    token = request.query_params.get("private_token")
    if token is not None and user is not None:
        response.set_cookie(COOKIE, token, httponly=True, samesite="lax")
    return response


def _who(request: Request) -> tuple[World, User | None]:
    """Return who visits; an unknown token is nobody."""
    world: World = request.app.state.world
    token = auth.presented_token(request) or request.cookies.get(COOKIE)
    found = world.authenticate(token) if token else None
    return world, found.user if isinstance(found, Credential) else None


def _visit(request: Request) -> Visit:
    """Find the project of a page, if the visitor may read it."""
    world, user = _who(request)
    project = world.find_project(request.path_params["project"].removesuffix(".git"))
    if project is None or not world.can_read_code(user, project):
        raise _not_found(
            "There is no such project, or it is private. "
            "Add ?private_token=TOKEN to the address to sign in."
        )
    rest = request.path_params.get("rest", "").strip("/")
    ref, path = _split_ref(world.repository(project), rest or project.default_branch)
    return Visit(request, world, user, project, ref, path)


def _split_ref(repository: Repository, rest: str) -> tuple[str, str]:
    """Tell ref and path apart; a branch name may hold slashes."""
    segments = rest.split("/")
    branches = set(repository.branches())
    for count in range(len(segments), 0, -1):
        if (ref := "/".join(segments[:count])) in branches:
            return ref, "/".join(segments[count:])
    return segments[0], "/".join(segments[1:])


def _until(numbered: Any, last: int) -> Any:
    for index, item in numbered:
        yield index, item
        if index >= last:
            return


def _not_found(text: str) -> PageError:
    return PageError(404, "Not found", text)


def _ago(moment: datetime) -> str:
    """Say how long ago something was, roughly."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("devserver"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ago"] = _ago
    return environment


def _route(path: str, show: Callable[[Visit], Response]) -> Route:
    def endpoint(request: Request) -> Response:
        return show(_visit(request))

    return Route(path, endpoint, methods=["GET"])


def _to_project(request: Request) -> Response:
    return RedirectResponse(f"/{request.path_params['project']}", 301)


routes: list[BaseRoute] = [
    Route("/", list_projects, methods=["GET"]),
    _route("/{project:path}/-/tree/{rest:path}", show_tree),
    _route("/{project:path}/-/blob/{rest:path}", show_blob),
    _route("/{project:path}/-/raw/{rest:path}", send_raw),
    _route("/{project:path}/-/audio/{rest:path}", send_audio),
    _route("/{project:path}/-/report/{rest:path}", show_report),
    _route("/{project:path}/-/commits/{rest:path}", show_commits),
    _route("/{project:path}/-/commit/{rest:path}", show_commit),
    Route("/{project:path}.git", _to_project, methods=["GET"]),
    _route("/{project:path}", show_project),
]
