"""Git LFS over HTTP: batch, upload, download, and the (always empty) lock list.

Statuses and bodies are GitLab's: `actions` without `transfer`, `expires_in` or `verify`; an object
that is already linked to the project needs no action; the token in an action lives two hours and is
checked again when an upload ends. The bytes are `lfs_store.py`, links belong to the world.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from devserver.errors import PlainError, Refusal
from devserver.git_auth import Action, ActionTokens, Identity, basic_header, denied, identify
from devserver.lfs_store import LfsStore, MismatchError, Pointer, TooLargeError, is_oid
from devserver.world import Project, World

MEDIA_TYPE = "application/vnd.git-lfs+json"
_MISSING = "Object does not exist on the server or you don't have permissions to access it"


class LfsError(Refusal):
    """A refusal in the shape LFS clients print."""

    def __init__(self, status: int, message: str, help_url: str) -> None:
        super().__init__(status)
        self.body = {"message": message, "documentation_url": help_url}

    def response(self) -> Response:
        """Return the answer."""
        return JSONResponse(self.body, self.status, media_type=MEDIA_TYPE)


async def batch(request: Request) -> Response:
    """Say for each object whether and how to transfer it."""
    try:
        asked = json.loads(await request.body())
    except ValueError:
        asked = None
    return await run_in_threadpool(_answer_batch, request, asked if isinstance(asked, dict) else {})


def _answer_batch(request: Request, asked: dict[str, Any]) -> Response:
    operation = asked.get("operation")
    world, project, identity = _enter(
        request, upload=operation == "upload", download=operation == "download"
    )
    objects = [item for item in asked.get("objects") or [] if isinstance(item, dict)]
    if not objects:
        raise _not_found(world)
    describe = _upload_object if operation == "upload" else _download_object
    answer = {"objects": [describe(world, project, identity, item) for item in objects]}
    return JSONResponse(answer, media_type=MEDIA_TYPE)


def _upload_object(
    world: World, project: Project, identity: Identity, item: dict[str, Any]
) -> dict[str, Any]:
    oid, size = str(item.get("oid")), item.get("size")
    if world.lfs_size(project, oid) is not None:
        return item
    headers = {
        **_authorization(world, project, identity, upload=True),
        "Content-Type": "application/octet-stream",
        "Transfer-Encoding": "chunked",
    }
    href = f"{_objects_url(world, project)}/{oid}/{size}"
    return {**item, "actions": {"upload": {"href": href, "header": headers}}}


def _download_object(
    world: World, project: Project, identity: Identity, item: dict[str, Any]
) -> dict[str, Any]:
    oid = str(item.get("oid"))
    if world.lfs_size(project, oid) is None or not LfsStore(world.root).has(oid):
        return {**item, "error": {"code": 404, "message": _MISSING}}
    headers = _authorization(world, project, identity, upload=False)
    href = f"{_objects_url(world, project)}/{oid}"
    answer = {**item, "actions": {"download": {"href": href, "header": headers}}}
    if project.visibility == "public":
        answer["authenticated"] = True
    return answer


async def upload(request: Request) -> Response:
    """Take in one object."""
    await run_in_threadpool(_enter, request, upload=True)
    if request.headers.get("content-type") != "application/octet-stream":
        raise PlainError(422, "Unprocessable entity")
    oid, size = request.path_params["oid"], request.path_params["size"]
    world: World = request.app.state.world
    try:
        with LfsStore(world.root).receive(Pointer(oid, size)) as incoming:
            async for chunk in request.stream():
                incoming.write(chunk)
    except TooLargeError as error:
        text = f"RequestBody: upload failed: the upload size is over maximum of {size} bytes: "
        raise PlainError(413, f"{text}entity is too large\n") from error
    except MismatchError as error:
        raise PlainError(400, "SHA256 or size mismatch") from error
    except ClientDisconnect:
        return Response(status_code=400)
    # The upload may have outlived its token: GitLab asks again before it links the object.
    _, project, _ = await run_in_threadpool(_enter, request, upload=True)
    await run_in_threadpool(world.link_lfs, project, oid, size)
    return PlainTextResponse("")


def download(request: Request) -> Response:
    """Send one object, or the range of it that was asked for."""
    world, project, _ = _enter(request, download=True)
    oid = request.path_params["oid"]
    path = LfsStore(world.root).path(oid)
    if not is_oid(oid) or world.lfs_size(project, oid) is None or not path.is_file():
        raise _not_found(world)
    return FileResponse(path, media_type="application/octet-stream", filename=oid)


def locks(request: Request) -> Response:
    """List the locks: there are none."""
    _enter(request, download=True)
    return JSONResponse({"locks": []}, media_type=MEDIA_TYPE)


def verify_locks(request: Request) -> Response:
    """Tell a pusher that nobody has locked anything."""
    _enter(request, upload=True)
    return JSONResponse({"ours": [], "theirs": []}, media_type=MEDIA_TYPE)


def legacy(request: Request) -> Response:
    """Refuse the API that came before batch."""
    world: World = request.app.state.world
    text = (
        "Server supports batch API only, please update your Git LFS client to version 1.0.1 and up."
    )
    raise LfsError(501, text, _help_url(world))


def _enter(
    request: Request, *, upload: bool = False, download: bool = False
) -> tuple[World, Project, Identity]:
    """Check credentials and rights, in GitLab's order; return what a handler needs."""
    world: World = request.app.state.world
    project = world.find_project(request.path_params["project"])
    identity = identify(request, world, project)
    can_read = project is not None and identity.can_read(world, project)
    if identity.user is None and not (download and can_read):
        raise denied()
    if project is None or not can_read or not project.lfs_enabled:
        raise _not_found(world)
    if download or (upload and identity.can_push(world, project)):
        return world, project, identity
    raise LfsError(403, "Access forbidden. Check your access level.", _help_url(world))


def _authorization(
    world: World, project: Project, identity: Identity, *, upload: bool
) -> dict[str, str]:
    if identity.user is None:
        return {}
    token = ActionTokens(world.root).issue(Action(project.id, identity.user.id, upload))
    return {"Authorization": basic_header(identity.user.username, token)}


def _not_found(world: World) -> LfsError:
    return LfsError(404, "Not found.", _help_url(world))


def _help_url(world: World) -> str:
    return f"{world.external_url}/help/topics/git/lfs/_index.md"


def _objects_url(world: World, project: Project) -> str:
    return f"{world.external_url}/{project.path}.git/gitlab-lfs/objects"


routes: list[BaseRoute] = [
    Route("/{project:path}.git/info/lfs/objects/batch", batch, methods=["POST"]),
    Route("/{project:path}.git/info/lfs/objects", legacy, methods=["POST"]),
    Route("/{project:path}.git/info/lfs/objects/{oid}", legacy, methods=["GET"]),
    Route("/{project:path}.git/info/lfs/locks/verify", verify_locks, methods=["POST"]),
    Route("/{project:path}.git/info/lfs/locks", locks, methods=["GET"]),
    Route("/{project:path}.git/gitlab-lfs/objects/{oid}/{size:int}", upload, methods=["PUT"]),
    Route("/{project:path}.git/gitlab-lfs/objects/{oid}", download, methods=["GET"]),
]
