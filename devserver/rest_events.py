"""REST: push events, of all the projects one belongs to or of one."""

from __future__ import annotations

from datetime import date

from starlette.responses import Response
from starlette.routing import BaseRoute

from devserver import entities, errors
from devserver.auth import USER_SCOPES
from devserver.call import Call, Json, api
from devserver.pagination import paginate
from devserver.world import Project, Push


def list_events(call: Call) -> Response:
    """Answer one's own pushes, or with `scope=all` those to every project one belongs to."""
    user = call.signed_in()
    projects = [item for item in call.world.projects if call.world.membership(user, item)]
    pushes = call.world.pushes([project.id for project in projects])
    if call.text("scope") != "all":
        pushes = [push for push in pushes if push.user_id == user.id]
    return _answer(call, pushes)


def list_project_events(call: Call) -> Response:
    """Answer the pushes to one project."""
    return _answer(call, call.world.pushes([call.project().id]))


def _answer(call: Call, pushes: list[Push]) -> Response:
    after, before = _day(call, "after"), _day(call, "before")
    action = call.text("action")
    found = [
        push
        for push in pushes
        if (after is None or push.created_at.date() > after)
        and (before is None or push.created_at.date() < before)
        and action in (None, "pushed")
    ]
    if call.choice("sort", ("asc", "desc"), "desc") == "asc":
        found.reverse()
    page, headers = paginate(call, found)
    return Json([_event(call, push) for push in page], headers=headers)


def _event(call: Call, push: Push) -> entities.Entity:
    user, project = call.world.user(push.user_id), call.world.find_project(push.project_id)
    assert user is not None
    assert project is not None
    verb, kind = _verb(push)
    return {
        "id": push.id,
        "project_id": push.project_id,
        "action_name": verb,
        "target_id": None,
        "target_iid": None,
        "target_type": None,
        "author_id": push.user_id,
        "target_title": None,
        "created_at": entities.utc(push.created_at),
        "author": entities.basic_user(call.world, user),
        "imported": False,
        "imported_from": "none",
        "push_data": {
            "commit_count": push.commit_count,
            "action": kind,
            "ref_type": "branch",
            "commit_from": push.commit_from,
            "commit_to": push.commit_to,
            "ref": push.branch,
            "commit_title": _title(call, project, push),
            "ref_count": None,
        },
        "author_username": user.username,
    }


def _verb(push: Push) -> tuple[str, str]:
    if push.commit_to is None:
        return "deleted", "removed"
    return ("pushed new", "created") if push.commit_from is None else ("pushed to", "pushed")


def _title(call: Call, project: Project, push: Push) -> str | None:
    if push.commit_to is None:
        return None
    return call.world.repository(project).commit(push.commit_to).title


def _day(call: Call, name: str) -> date | None:
    text = call.text(name)
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise errors.ParameterError(f"{name} is invalid") from None


routes: list[BaseRoute] = [
    api("GET", "/events", list_events, scopes=USER_SCOPES),
    api("GET", "/projects/{id}/events", list_project_events),
]
