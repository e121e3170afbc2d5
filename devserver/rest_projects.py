"""REST: the list of projects, with its filters and both kinds of paging, and one project."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from starlette.responses import Response
from starlette.routing import BaseRoute

from devserver import entities, errors
from devserver.call import Call, Json, api
from devserver.pagination import link, page_size, paginate
from devserver.people import AccessLevel
from devserver.world import Project

_ORDERS: dict[str, Callable[[Project], int | str | datetime]] = {
    "id": lambda project: project.id,
    "name": lambda project: project.name,
    "path": lambda project: project.path,
    "created_at": lambda project: project.created_at,
    "updated_at": lambda project: project.created_at,
    "last_activity_at": lambda project: project.last_activity_at,
    "similarity": lambda project: project.id,
    "star_count": lambda project: project.id,
}
_VISIBILITIES = ("public", "internal", "private")


def list_projects(call: Call) -> Response:
    """Answer the projects this user can see, narrowed as asked."""
    call.limit("projects_list", call.user.id if call.user else None)
    order = call.choice("order_by", _ORDERS, "created_at")
    descending = call.choice("sort", ("asc", "desc"), "desc") == "desc"
    if (call.text("updated_after") or call.text("updated_before")) and order != "updated_at":
        raise errors.bad_request("`updated_at` filter and `updated_at` sorting must be paired")
    by_key = call.text("pagination") == "keyset"
    if by_key and order != "id":
        text = "Keyset pagination is not yet available for this type of request"
        raise errors.ParameterError(text, status=405)
    key = _ORDERS[order]
    found = sorted(_matching(call), key=lambda item: (key(item), item.id), reverse=descending)
    if by_key:
        return _keyset_page(call, found, descending=descending)
    page, headers = paginate(call, found)
    return Json(_shown(call, page), headers=headers)


def show_project(call: Call) -> Response:
    """Answer one project."""
    call.limit("project_show", call.user.id if call.user else None)
    return Json(entities.full_project(call.world, call.project(), call.user))


def _keyset_page(call: Call, found: list[Project], *, descending: bool) -> Response:
    page = found[: page_size(call)]
    headers = {}
    if page:
        # Also after a short page: only an empty one ends the list.
        name = "id_before" if descending else "id_after"
        headers["Link"] = link(call, "next", **{name: page[-1].id})
    return Json(_shown(call, page), headers=headers)


def _shown(call: Call, page: Sequence[Project]) -> list[entities.Entity]:
    simple = call.flag("simple") or call.user is None
    show = entities.simple_project if simple else entities.full_project
    return [show(call.world, project, call.user) for project in page]


def _matching(call: Call) -> Iterator[Project]:
    tests = [_visible(call), _membership(call), _activity(call), _ids(call), _properties(call)]
    for project in call.world.projects:
        if all(test(project) for test in tests):
            yield project


_Test = Callable[[Project], bool]


def _visible(call: Call) -> _Test:
    return lambda project: call.world.can_see(call.user, project)


def _membership(call: Call) -> _Test:
    needed = call.number("min_access_level") or 0
    if not needed and (call.flag("membership") or call.flag("owned")):
        needed = AccessLevel.OWNER if call.flag("owned") else AccessLevel.GUEST
    return lambda project: not needed or call.world.membership(call.user, project) >= needed


def _activity(call: Call) -> _Test:
    after, before = call.moment("last_activity_after"), call.moment("last_activity_before")
    return lambda project: (
        (after is None or project.last_activity_at > after)
        and (before is None or project.last_activity_at < before)
    )


def _ids(call: Call) -> _Test:
    after, before = call.number("id_after"), call.number("id_before")
    return lambda project: (
        (after is None or project.id > after) and (before is None or project.id < before)
    )


def _properties(call: Call) -> _Test:
    search = (call.text("search") or "").lower()
    archived = call.flag("archived") if "archived" in call.params else None
    if call.flag("active"):
        archived = False
    visibility = call.choice("visibility", _VISIBILITIES, "") if call.text("visibility") else None
    return lambda project: (
        search in project.path.lower()
        and archived in (None, project.archived)
        and visibility in (None, project.visibility)
    )


routes: list[BaseRoute] = [
    api("GET", "/projects", list_projects),
    api("GET", "/projects/{id}", show_project),
]
