"""REST: branches and their protection."""

from __future__ import annotations

import pygit2
from starlette.responses import Response
from starlette.routing import BaseRoute

from devserver import entities, errors
from devserver.call import Call, Json, api
from devserver.pagination import paginate
from devserver.people import AccessLevel
from devserver.repository import RefChangedError, RefExistsError, RefLockedError

_LEVEL_NAMES = {0: "No one", 30: "Developers + Maintainers", 40: "Maintainers", 60: "Admins"}


def list_branches(call: Call) -> Response:
    """Answer all branches."""
    project, repository = call.code()
    search = call.text("search") or ""
    page, headers = paginate(call, [name for name in repository.branches() if search in name])
    found = [entities.branch(call.world, project, name, call.user) for name in page]
    return Json([branch for branch in found if branch], headers=headers)


def show_branch(call: Call) -> Response:
    """Answer one branch; HEAD only says whether it exists."""
    project, _ = call.code()
    found = entities.branch(call.world, project, call.path["branch"], call.user)
    if call.request.method == "HEAD":
        return Response(status_code=404 if found is None else 204)
    if found is None:
        raise errors.not_found("Branch")
    return Json(found)


def create_branch(call: Call) -> Response:
    """Make a branch at a ref."""
    project, repository = call.code()
    user = call.signed_in()
    call.require("branch", "ref")
    name, ref = call.text("branch") or "", call.text("ref") or ""
    if not call.world.can_push(user, project, name):
        raise errors.forbidden()
    if not pygit2.reference_is_valid_name(f"refs/heads/{name}"):
        raise errors.ApiError(400, "Branch name is invalid")
    commit_id = repository.resolve(ref)
    if repository.head(name) is not None:
        raise errors.ApiError(400, "Branch already exists")
    if commit_id is None:
        text = f"Failed to create branch '{name}': invalid reference name '{ref}'"
        raise errors.ApiError(400, text)
    try:
        repository.move_branch(name, commit_id, None)
    except (RefExistsError, RefLockedError):
        raise errors.ApiError(400, "Branch already exists") from None
    call.world.record_push(project, user, name, None, commit_id)
    return Json(entities.branch(call.world, project, name, user), 201)


def delete_branch(call: Call) -> Response:
    """Remove a branch."""
    project, repository = call.code()
    user = call.signed_in()
    name = call.path["branch"]
    head = repository.head(name)
    if head is None:
        raise errors.not_found("Branch")
    if not call.world.can_push(user, project, name):
        raise errors.forbidden()
    if name == project.default_branch:
        raise errors.ApiError(405, "Cannot remove HEAD branch")
    if name in call.world.protected_branches(project):
        raise errors.ApiError(403, "Protected branch")
    try:
        repository.move_branch(name, None, head)
    except (RefChangedError, RefLockedError):
        raise errors.ApiError(400, "Failed to remove branch") from None
    call.world.record_push(project, user, name, head, None)
    return Response(status_code=204)


def list_protected(call: Call) -> Response:
    """Answer which branches are protected."""
    _maintainer(call)
    levels = call.world.protected_branches(call.project())
    page, headers = paginate(call, sorted(levels))
    return Json([_protected(name, levels[name]) for name in page], headers=headers)


def show_protected(call: Call) -> Response:
    """Answer how one branch is protected."""
    _maintainer(call)
    name = call.path["name"]
    level = call.world.protected_branches(call.project()).get(name)
    if level is None:
        raise errors.not_found()
    return Json(_protected(name, level))


def protect_branch(call: Call) -> Response:
    """Protect a branch; maintainers may push unless another level is named."""
    _maintainer(call)
    call.require("name")
    name = call.text("name") or ""
    project = call.project()
    if name in call.world.protected_branches(project):
        raise errors.ApiError(409, f"Protected branch '{name}' already exists")
    level = call.number("push_access_level")
    call.world.protect_branch(project, name, AccessLevel.MAINTAINER if level is None else level)
    return Json(_protected(name, call.world.protected_branches(project)[name]), 201)


def unprotect_branch(call: Call) -> Response:
    """End a branch's protection."""
    _maintainer(call)
    project = call.project()
    if call.path["name"] not in call.world.protected_branches(project):
        raise errors.not_found()
    call.world.unprotect_branch(project, call.path["name"])
    return Response(status_code=204)


def _maintainer(call: Call) -> None:
    project = call.project()
    if call.world.access_level(call.signed_in(), project) < AccessLevel.MAINTAINER:
        raise errors.forbidden()


def _protected(name: str, level: int) -> entities.Entity:
    access = {
        "id": 1,
        "access_level": level,
        "access_level_description": _LEVEL_NAMES.get(level, str(level)),
        "deploy_key_id": None,
        "user_id": None,
        "group_id": None,
    }
    return {
        "id": 1,
        "name": name,
        "push_access_levels": [access],
        "merge_access_levels": [access],
        "allow_force_push": False,
        "unprotect_access_levels": [],
        "code_owner_approval_required": False,
        "inherited": False,
    }


_BRANCH = "/projects/{id}/repository/branches/{branch}"
_PROTECTED = "/projects/{id}/protected_branches"

routes: list[BaseRoute] = [
    api("GET", "/projects/{id}/repository/branches", list_branches),
    api("POST", "/projects/{id}/repository/branches", create_branch),
    api("GET", _BRANCH, show_branch),
    api("DELETE", _BRANCH, delete_branch),
    api("GET", _PROTECTED, list_protected),
    api("POST", _PROTECTED, protect_branch),
    api("GET", f"{_PROTECTED}/{{name}}", show_protected),
    api("DELETE", f"{_PROTECTED}/{{name}}", unprotect_branch),
]
