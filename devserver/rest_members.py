"""REST: who belongs to a project. Memberships are direct; there are no groups to inherit from."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute

from devserver import entities, errors
from devserver.call import Call, Json, api
from devserver.pagination import paginate
from devserver.people import AccessLevel, User
from devserver.world import Project


def list_members(call: Call) -> Response:
    """Answer all members."""
    project = call.project()
    call.limit("members_list", call.user.id if call.user else None, project.id)
    levels = call.world.members(project)
    page, headers = paginate(call, sorted(levels))
    found = [_member(call, project, user_id) for user_id in page]
    return Json(found, headers=headers)


def show_member(call: Call) -> Response:
    """Answer one member."""
    return Json(_member(call, call.project(), _user_id(call)))


def add_member(call: Call) -> Response:
    """Give a user a role; maintainers may, up to their own."""
    project = call.project()
    level = _level(call, project)
    user = _named_user(call)
    if user.id in call.world.members(project):
        raise errors.ApiError(409, "Member already exists")
    call.world.set_member(project, user, level)
    return Json(entities.member(call.world, user, level), 201)


def change_member(call: Call) -> Response:
    """Change a member's role."""
    project = call.project()
    level = _level(call, project)
    _member(call, project, _user_id(call))
    user = call.world.user(_user_id(call))
    assert user is not None
    call.world.set_member(project, user, level)
    return Json(entities.member(call.world, user, level))


def remove_member(call: Call) -> Response:
    """End a membership; maintainers may, and everyone their own."""
    project, user = call.project(), call.signed_in()
    user_id = _user_id(call)
    _member(call, project, user_id)
    is_maintainer = call.world.access_level(user, project) >= AccessLevel.MAINTAINER
    if user.id != user_id and not is_maintainer:
        raise errors.forbidden()
    call.world.remove_member(project, user_id)
    return Response(status_code=204)


def _member(call: Call, project: Project, user_id: int) -> entities.Entity:
    level = call.world.members(project).get(user_id)
    user = call.world.user(user_id)
    if level is None or user is None:
        raise errors.ApiError(404, "404 Not found")
    return entities.member(call.world, user, level)


def _level(call: Call, project: Project) -> int:
    own = call.world.access_level(call.signed_in(), project)
    if own < AccessLevel.MAINTAINER:
        raise errors.forbidden()
    call.require("access_level")
    level = call.number("access_level")
    if level is None or level not in set(AccessLevel) - {AccessLevel.NONE}:
        raise errors.ParameterError("access_level does not have a valid value")
    if level > own:
        raise errors.forbidden()
    return level


def _named_user(call: Call) -> User:
    username, user_id = call.text("username"), call.number("user_id")
    if username is None and user_id is None:
        raise errors.ParameterError(
            "user_id, username are missing, exactly one parameter must be provided"
        )
    user = call.world.find_user(username) if username else call.world.user(user_id or 0)
    if user is None:
        raise errors.not_found("User")
    return user


def _user_id(call: Call) -> int:
    text = call.path["user_id"]
    if not text.isdigit():
        raise errors.ParameterError("user_id is invalid")
    return int(text)


_MEMBERS = "/projects/{id}/members"

routes: list[BaseRoute] = [
    api("GET", _MEMBERS, list_members),
    api("POST", _MEMBERS, add_member),
    api("GET", f"{_MEMBERS}/all", list_members),
    api("GET", f"{_MEMBERS}/all/{{user_id}}", show_member),
    api("GET", f"{_MEMBERS}/{{user_id}}", show_member),
    api("PUT", f"{_MEMBERS}/{{user_id}}", change_member),
    api("DELETE", f"{_MEMBERS}/{{user_id}}", remove_member),
]
