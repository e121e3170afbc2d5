"""One commit from a list of actions: GitLab's `Files::MultiService` and Gitaly's `UserCommitFiles`.

    validate ──► read head ──► pin parent, apply actions ──► LFS check ──► swap the branch
    last_commit_id                in-memory tree of parent                 only if still at parent
              ▲                                             ▲
              validation_window_s (8.2: not atomic)         commit_window_s (collisions)

All actions or none. Existence is checked in the very tree the branch moves from; `last_commit_id` is
checked earlier and without a lock, as in GitLab. There is no queue and no retry.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import pygit2
from pygit2.enums import FileMode

from devserver import errors, lfs_rules
from devserver.commit_request import Action, ActionKind, CommitRequest
from devserver.people import User
from devserver.repository import (
    RefChangedError,
    RefExistsError,
    RefLockedError,
    Repository,
)
from devserver.trees import NotADirectoryInTreeError, TreeEditor, TreeItem
from devserver.world import CommitStage, Project, World

_FULL_SHA = re.compile(r"[0-9a-f]{40}\Z")
_EXISTS = "A file with this name already exists"
_MISSING = "A file with this name doesn't exist"
_LFS_MISSING = (
    'LFS objects are missing. Ensure LFS is properly set up or try a manual "git lfs push --all".'
)


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a commit is built: on `parent`, moving the branch away from `expected`."""

    parent: str | None
    expected: str | None


def commit_files(
    world: World,
    project: Project,
    user: User,
    request: CommitRequest,
    *,
    stale_text: Callable[[Action], str] | None = None,
) -> str:
    """Make a commit and move the branch; return the commit's id.

    Raises:
        ApiError: 403 without push rights, 400 for everything that stands in the way.
    """
    repository = world.repository(project)
    if not world.can_push(user, project, request.branch):
        raise errors.forbidden("You are not allowed to push into this branch")
    world.on_commit(project, CommitStage.ASKED)
    _check_start(repository, request)
    for action in request.actions:
        _check_unchanged(repository, request, action, stale_text or _stale_text)
    time.sleep(world.limits.validation_window_s)
    world.on_commit(project, CommitStage.VALIDATED)
    actions = [_converted(world, project, request.branch, action) for action in request.actions]
    start = _pin(repository, request)
    commit_id, new_blob_ids = _build(repository, user, request, actions, start.parent)
    if lfs_rules.missing_objects(world, project, new_blob_ids):
        raise errors.ApiError(400, _LFS_MISSING)
    time.sleep(world.limits.commit_window_s)
    world.on_commit(project, CommitStage.BUILT)
    _swap(repository, request.branch, commit_id, start.expected)
    world.record_push(project, user, request.branch, start.expected, commit_id)
    world.on_commit(project, CommitStage.DONE)
    return commit_id


def _check_start(repository: Repository, request: CommitRequest) -> None:
    start_branch = request.start_branch or request.branch
    is_new_line = request.start_sha is not None or start_branch != request.branch
    if request.start_sha is not None:
        if not _FULL_SHA.match(request.start_sha):
            raise errors.ApiError(400, f"Invalid start_sha '{request.start_sha}'")
        if repository.resolve(request.start_sha) is None:
            raise errors.ApiError(400, f"Cannot find start_sha '{request.start_sha}'")
    elif not repository.is_empty and repository.head(start_branch) is None:
        text = "You can only create or edit files when you are on a branch"
        raise errors.ApiError(400, text)
    if is_new_line and not request.force and repository.head(request.branch) is not None:
        raise errors.ApiError(
            400,
            f"A branch called '{request.branch}' already exists. "
            "Switch to that branch in order to make changes",
        )
    if not pygit2.reference_is_valid_name(f"refs/heads/{request.branch}"):
        raise errors.ApiError(
            400,
            f"Something went wrong when we tried to create '{request.branch}' for you: "
            "Branch name is invalid",
        )


def _check_unchanged(
    repository: Repository,
    request: CommitRequest,
    action: Action,
    stale_text: Callable[[Action], str],
) -> None:
    """Compare the last touch of the path now and as of the commit the client read.

    Passes if the commit is unknown or the path was never touched on either side.
    """
    if action.kind is ActionKind.CREATE or action.last_commit_id is None:
        return
    start = request.start_sha or request.start_branch or request.branch
    path = action.source_path.lstrip("/")
    now = repository.last_commit_for(start, path)
    then = repository.last_commit_for(action.last_commit_id, path)
    if now is not None and then is not None and now != then:
        raise errors.ApiError(400, stale_text(action))


def _stale_text(action: Action) -> str:
    return f"The file has changed since you started editing it: {action.source_path}"


def _converted(world: World, project: Project, branch: str, action: Action) -> Action:
    if not action.convert or action.content is None:
        return action
    path = action.path.lstrip("/")
    content = lfs_rules.transform_content(world, project, branch, path, action.content)
    return Action(
        action.kind, action.path, content=content, executable=action.executable, convert=False
    )


def _pin(repository: Repository, request: CommitRequest) -> _Start:
    head = repository.head(request.branch)
    if request.start_sha is not None:
        return _Start(request.start_sha, head)
    if request.start_branch not in (None, request.branch):
        assert request.start_branch is not None
        return _Start(repository.head(request.start_branch), head)
    return _Start(head, head)


def _build(
    repository: Repository,
    user: User,
    request: CommitRequest,
    actions: list[Action],
    parent: str | None,
) -> tuple[str, list[str]]:
    """Store a commit on the parent; return its id and those of the blobs it brings."""
    tree = repository.edit(parent)
    new_blob_ids: list[str] = []
    for action in actions:
        _apply(repository, tree, action, new_blob_ids)
    committer = (user.name, user.email)
    author = (request.author_name or user.name, request.author_email or user.email)
    parents = [] if parent is None else [parent]
    commit_id = repository.write_commit(tree.write(), parents, request.message, author, committer)
    return commit_id, new_blob_ids


def _apply(
    repository: Repository, tree: TreeEditor, action: Action, new_blob_ids: list[str]
) -> None:
    path = _clean(action.path)
    source_path = _clean(action.source_path)
    source = tree.file(source_path)
    if action.kind is ActionKind.CREATE:
        if source is not None:
            raise errors.ApiError(400, _EXISTS)
        source = TreeItem("", FileMode.BLOB)
    elif action.kind is ActionKind.DELETE:
        if not tree.exists(source_path):
            raise errors.ApiError(400, _MISSING)
        tree.remove(source_path)
        return
    elif source is None:
        raise errors.ApiError(400, _MISSING)
    if action.kind is ActionKind.MOVE:
        tree.remove(source_path)
        if tree.file(path) is not None:
            raise errors.ApiError(400, _EXISTS)
    item = _new_item(repository, action, source)
    if item.id != source.id:
        new_blob_ids.append(item.id)
    try:
        tree.put(path, item)
    except NotADirectoryInTreeError:
        raise errors.ApiError(400, "13:writing tree: exit status 128.") from None


def _new_item(repository: Repository, action: Action, source: TreeItem) -> TreeItem:
    """Return what is to be at the path: the source with the action's content and mode."""
    mode = source.mode
    may_set_mode = action.kind in (ActionKind.CREATE, ActionKind.CHMOD, ActionKind.UPDATE)
    if action.executable is not None and may_set_mode:
        if action.executable:
            mode = FileMode.BLOB_EXECUTABLE
        elif mode == FileMode.BLOB_EXECUTABLE:
            mode = FileMode.BLOB
    keeps_content = action.kind is ActionKind.CHMOD or action.content is None
    if keeps_content and action.kind is not ActionKind.CREATE:
        return TreeItem(source.id, mode)
    return TreeItem(repository.write_blob(action.content or b""), mode)


def _clean(path: str) -> str:
    """Return a path as Gitaly stores it, or refuse it in Gitaly's words."""
    relative = path.removeprefix("/")
    if not relative.strip("/"):
        raise errors.ApiError(400, "You must provide a file path")
    if "//" in path:
        raise errors.ApiError(400, f'invalid path: "{path}"')
    parts = [part for part in relative.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise errors.ApiError(400, "Path cannot include directory traversal")
    if not parts or "\0" in path or any(part.lower() == ".git" for part in parts):
        raise errors.ApiError(400, f"invalid path: '{path}'")
    return "/".join(parts)


def _swap(repository: Repository, branch: str, commit_id: str, expected: str | None) -> None:
    try:
        repository.move_branch(branch, commit_id, expected)
    except RefLockedError:
        reason = "reference is already locked"
    except RefExistsError:
        reason = "reference already exists"
    except RefChangedError:
        reason = "reference does not point to expected object"
    else:
        return
    # A passed-through gRPC status: 9 is FAILED_PRECONDITION.
    raise errors.ApiError(400, f"9:reference update: {reason}.")
