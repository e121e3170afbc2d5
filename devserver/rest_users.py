"""REST: the signed-in user, their token, user look-up, and what version this claims to be."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute

from devserver import entities, errors
from devserver.auth import USER_SCOPES
from devserver.call import Call, Json, api
from devserver.pagination import paginate

VERSION = "18.9.0"
_ALL_SCOPES = (
    "api",
    "read_api",
    "read_user",
    "read_repository",
    "write_repository",
    "create_runner",
    "k8s_proxy",
    "self_rotate",
    "sudo",
    "admin_mode",
)


def show_current_user(call: Call) -> Response:
    """Answer who asks."""
    return Json(entities.current_user(call.world, call.signed_in()))


def show_current_token(call: Call) -> Response:
    """Answer with which token; any scope may ask."""
    call.signed_in()
    assert call.credential is not None
    client = call.request.client
    return Json(entities.token(call.credential, client.host if client else None))


def list_users(call: Call) -> Response:
    """Answer the users, or the one of a name."""
    call.signed_in()
    username = call.text("username")
    users = [user for user in call.world.users if username in (None, user.username)]
    page, headers = paginate(call, users[::-1])
    return Json([entities.basic_user(call.world, user) for user in page], headers=headers)


def show_user(call: Call) -> Response:
    """Answer one user by id."""
    call.signed_in()
    user = call.world.user(int(call.path["user_id"])) if call.path["user_id"].isdigit() else None
    if user is None:
        raise errors.not_found("User")
    return Json(entities.basic_user(call.world, user))


def show_version(call: Call) -> Response:
    """Answer the version."""
    call.signed_in()
    kas = {"enabled": False, "externalUrl": None, "externalK8sProxyUrl": None, "version": None}
    return Json({"version": VERSION, "revision": "devserver", "kas": kas, "enterprise": False})


routes: list[BaseRoute] = [
    api("GET", "/user", show_current_user, scopes=USER_SCOPES),
    api("GET", "/personal_access_tokens/self", show_current_token, scopes=_ALL_SCOPES),
    api("GET", "/users", list_users, scopes=USER_SCOPES),
    api("GET", "/users/{user_id}", show_user, scopes=USER_SCOPES),
    api("GET", "/version", show_version, scopes=USER_SCOPES),
    api("GET", "/metadata", show_version, scopes=USER_SCOPES),
]
