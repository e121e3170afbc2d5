"""Smart HTTP: lets real git clone from and push to the projects, with GitLab's refusals.

Decides who may fetch or push and hands the request to `git_backend.py`. Single branches, force
pushes and LFS integrity are checked by git's own hooks (`push_check.py`), as only they see the pack.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

import devserver
from devserver import push_check
from devserver.errors import PlainError
from devserver.git_auth import Identity, denied, identify
from devserver.git_backend import BackendReply, base_environment, config_environment
from devserver.world import Project, User, World

_UPLOAD, _RECEIVE = "git-upload-pack", "git-receive-pack"
_NO_PROJECT = (
    "The project you were looking for could not be found or you don't have permission to view it."
)


async def info_refs(request: Request) -> Response | BackendReply:
    """Say what refs there are: the first request of every fetch and push."""
    service = request.query_params.get("service", "")
    if request.method == "HEAD" or service not in (_UPLOAD, _RECEIVE):
        return PlainTextResponse("", 403)
    world, project, identity = await run_in_threadpool(_enter, request, service)
    return BackendReply(_environment(world, project, identity, "info/refs"))


async def upload_pack(request: Request) -> BackendReply:
    """Serve a fetch."""
    world, project, identity = await run_in_threadpool(_enter, request, _UPLOAD)
    return BackendReply(_environment(world, project, identity, _UPLOAD))


async def receive_pack(request: Request) -> BackendReply:
    """Take a push, and note what it moved before the client is told that it is over."""
    world, project, identity = await run_in_threadpool(_enter, request, _RECEIVE)
    user = identity.user
    assert user is not None
    with tempfile.NamedTemporaryFile(prefix="push-", delete=False) as file:
        receipt = Path(file.name)
    terms = await run_in_threadpool(_terms, world, project, user, receipt)

    async def on_done() -> None:
        await run_in_threadpool(_record, world, project, user, receipt)

    environment = _environment(world, project, identity, _RECEIVE)
    environment[push_check.TERMS_VARIABLE] = terms.as_json()
    return BackendReply(environment, on_done)


def add_suffix(request: Request) -> Response:
    """Send a client that left out `.git` to the real place."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"/{request.path_params['project']}.git/info/refs{query}", 301)


def _enter(request: Request, service: str) -> tuple[World, Project, Identity]:
    """Check credentials and rights; return what a handler needs."""
    world: World = request.app.state.world
    project = world.find_project(request.path_params["project"])
    identity = identify(request, world, project)
    can_read = project is not None and identity.can_read(world, project)
    if identity.user is None and not (service == _UPLOAD and can_read):
        raise denied()
    if project is None or not world.can_see(identity.user, project):
        raise PlainError(404, _NO_PROJECT)
    if service == _RECEIVE and not identity.can_push(world, project):
        raise PlainError(403, "You are not allowed to push code to this project.")
    if not can_read:
        raise PlainError(403, "You are not allowed to download code from this project.")
    return world, project, identity


def _environment(
    world: World, project: Project, identity: Identity, operation: str
) -> dict[str, str]:
    hooks = world.root / "hooks"
    if operation == _RECEIVE:
        push_check.install(hooks)
    environment = base_environment() | {
        "GIT_PROJECT_ROOT": str(world.repository(project).path.parent.resolve()),
        "PATH_INFO": f"/{project.id}.git/{operation}",
        "GIT_HTTP_EXPORT_ALL": "1",
        "PYTHONPATH": str(Path(devserver.__file__).resolve().parents[1]),
    }
    if identity.user is not None:
        # A named user is also what makes http-backend offer pushing.
        environment["REMOTE_USER"] = identity.user.username
    settings = {
        "core.hooksPath": str(hooks.resolve()),
        "safe.directory": "*",
        "receive.denyDeleteCurrent": "ignore",
    }
    return environment | config_environment(settings)


def _terms(world: World, project: Project, user: User, receipt: Path) -> push_check.Terms:
    return push_check.Terms(
        project_id=project.id,
        default_branch=project.default_branch,
        protected={
            branch: world.can_push(user, project, branch)
            for branch in world.protected_branches(project)
        },
        lfs_enabled=project.lfs_enabled,
        state_file=str((world.root / "state.sqlite3").resolve()),
        receipt_file=str(receipt),
    )


def _record(world: World, project: Project, user: User, receipt: Path) -> None:
    updates = push_check.read_receipt(receipt.read_text())
    receipt.unlink()
    for update in updates:
        if update.branch is not None:
            world.record_push(project, user, update.branch, update.before, update.after)


routes: list[BaseRoute] = [
    Route("/{project:path}.git/info/refs", info_refs, methods=["GET"]),
    Route(f"/{{project:path}}.git/{_UPLOAD}", upload_pack, methods=["POST"]),
    Route(f"/{{project:path}}.git/{_RECEIVE}", receive_pack, methods=["POST"]),
    Route("/{project:path}/info/refs", add_suffix, methods=["GET"]),
]
