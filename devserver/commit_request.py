"""What a client asks to be committed, read and checked before any repository is looked at.

The commits API and the files API both end in a `CommitRequest`. The refusals are those of GitLab
18.7 and later. Knows no repository.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from devserver import errors
from devserver.call import Call


class ActionKind(StrEnum):
    """What an action does to a path."""

    CREATE = "create"
    UPDATE = "update"
    MOVE = "move"
    DELETE = "delete"
    CHMOD = "chmod"


@dataclass(frozen=True, slots=True)
class Action:
    """One change; `content` None keeps what is there, `convert` lets LFS take tracked paths."""

    kind: ActionKind
    path: str
    previous_path: str | None = None
    content: bytes | None = None
    last_commit_id: str | None = None
    executable: bool | None = None
    convert: bool = False

    @property
    def source_path(self) -> str:
        """The path the action expects to find something at."""
        return self.previous_path or self.path


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """A whole commit; `author_*` None means the user who asks."""

    branch: str
    message: str
    actions: tuple[Action, ...]
    start_branch: str | None = None
    start_sha: str | None = None
    author_name: str | None = None
    author_email: str | None = None
    force: bool = False


def commit_request(call: Call) -> CommitRequest:
    """Read the body of `POST .../commits`."""
    for name in ("branch", "commit_message"):
        _need(call, name)
    given = call.params.get("actions", [])
    if not isinstance(given, list) or not all(isinstance(item, Mapping) for item in given):
        raise errors.bad_request("actions must be an array")
    if call.text("start_branch") and call.text("start_sha"):
        raise errors.bad_request("start_branch, start_sha are mutually exclusive")
    if not given and not call.flag("allow_empty"):
        raise errors.bad_request("Provide at least one action, or set allow_empty to true")
    actions = tuple(_action(item, f"actions[{index}]") for index, item in enumerate(given))
    return _request(call, actions)


def file_request(call: Call, kind: ActionKind, path: str) -> CommitRequest:
    """Read the parameters of `POST`, `PUT` and `DELETE .../files/:path`."""
    if kind is ActionKind.DELETE:
        call.require("branch", "commit_message")
        return _request(call, (Action(kind, path, last_commit_id=call.text("last_commit_id")),))
    for name in ("branch", "commit_message"):
        _need(call, name)
    if call.params.get("content") is None:
        raise errors.bad_request("content is required")
    if call.params.get("encoding") not in (None, "text", "base64"):
        raise errors.bad_request("encoding must be text or base64")
    action = Action(
        kind,
        path,
        content=_content(call.params),
        last_commit_id=call.text("last_commit_id"),
        executable=_truth(call.params.get("execute_filemode")),
        convert=True,
    )
    return _request(call, (action,))


def _request(call: Call, actions: tuple[Action, ...]) -> CommitRequest:
    return CommitRequest(
        branch=call.text("branch") or "",
        message=call.text("commit_message") or "",
        actions=actions,
        start_branch=call.text("start_branch") or None,
        start_sha=call.text("start_sha") or None,
        author_name=call.text("author_name") or None,
        author_email=call.text("author_email") or None,
        force=call.flag("force"),
    )


def _need(call: Call, name: str) -> None:
    if not call.text(name):
        raise errors.bad_request(f"{name} is required")


def _action(given: Mapping[str, Any], where: str) -> Action:
    for name in ("action", "file_path"):
        if not given.get(name):
            raise errors.bad_request(f"{where}[{name}] is required")
    try:
        kind = ActionKind(given["action"])
    except ValueError:
        kinds = ", ".join(ActionKind)
        raise errors.bad_request(f"{where}[action] must be one of: {kinds}") from None
    _check_fields(given, kind, where)
    return Action(
        kind,
        str(given["file_path"]),
        previous_path=_text(given.get("previous_path")) if kind is ActionKind.MOVE else None,
        content=_content(given),
        last_commit_id=_text(given.get("last_commit_id")),
        executable=_truth(given.get("execute_filemode")),
        convert=kind is ActionKind.CREATE,
    )


def _check_fields(given: Mapping[str, Any], kind: ActionKind, where: str) -> None:
    needed = {
        ActionKind.UPDATE: "content",
        ActionKind.MOVE: "previous_path",
        ActionKind.CHMOD: "execute_filemode",
    }.get(kind)
    if needed is not None and given.get(needed) is None:
        raise errors.bad_request(f"{where}[{needed}] is required for {kind} action")
    if given.get("encoding") not in (None, "text", "base64"):
        raise errors.bad_request(f"{where}[encoding] must be text or base64")


def _content(given: Mapping[str, Any]) -> bytes | None:
    content = given.get("content")
    if content is None:
        return None
    if given.get("encoding") != "base64":
        return str(content).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(str(content))
    except (binascii.Error, ValueError):
        raise errors.ApiError(400, "illegal base64 data at input byte 0") from None


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _truth(value: object) -> bool | None:
    return None if value is None else str(value).lower() in ("true", "1", "t", "yes")
