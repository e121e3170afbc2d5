"""Changes of the store port as actions of GitLab's commits API.

Sends nothing. The one subtlety is pointers: what is *created* at a path that the root `.gitattributes`
marks for LFS, GitLab turns into an object of its own, a pointer too, which would leave a pointer to a
pointer. Updates and moves are stored as they are (GitLab: `Lfs::FileTransformer`), so a pointer is
created under a name that is not marked and moved to its place in the same commit.
"""

from __future__ import annotations

import base64
import fnmatch
from collections.abc import Iterator, Sequence
from typing import Any

from gitlab_jobs.store import Change, Create, CreatePointer, Delete, Guard, Move, Update

SIDE_SUFFIX = ".lfsptr"

Action = dict[str, Any]


def actions_for(changes: Sequence[Change], attributes: bytes) -> list[Action]:
    """Translate changes; `attributes` is the branch's root `.gitattributes`."""
    return [action for change in changes for action in _actions(change, attributes)]


def may_be_tracked(path: str, attributes: bytes) -> bool:
    """Whether GitLab could take a path for an LFS path.

    Errs towards yes: which of several lines wins, and how a pattern with slashes is anchored, differs
    between git and GitLab, and the detour for marked paths is right for all others too.
    """
    name = path.rpartition("/")[2]
    for line in attributes.decode("utf-8", "replace").splitlines():
        pattern, _, settings = line.strip().partition(" ")
        if "filter=lfs" not in settings or pattern.startswith("#"):
            continue
        pattern = pattern.strip('"').lstrip("/")
        folder = pattern.removesuffix("**").removesuffix("*")
        in_folder = folder.endswith("/") and path.startswith(folder)
        if in_folder or fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(name, pattern):
            return True
    return False


def _actions(change: Change, attributes: bytes) -> Iterator[Action]:
    match change:
        case Create(path, content):
            yield {"action": "create", "file_path": path, **_encoded(content)}
        case CreatePointer(path, pointer):
            yield from _pointer_actions(path, pointer.text(), attributes)
        case Update(path, content, base):
            known = {"last_commit_id": base} if base else {}
            yield {"action": "update", "file_path": path, **_encoded(content), **known}
        case Move(previous_path, path, content):
            new = {} if content is None else _encoded(content)
            yield {"action": "move", "previous_path": previous_path, "file_path": path, **new}
        case Delete(path):
            yield {"action": "delete", "file_path": path}
        case Guard(path):
            yield {"action": "chmod", "file_path": path, "execute_filemode": False}


def _pointer_actions(path: str, text: bytes, attributes: bytes) -> Iterator[Action]:
    side = path + SIDE_SUFFIX
    if not may_be_tracked(path, attributes):
        yield {"action": "create", "file_path": path, **_encoded(text)}
    elif not may_be_tracked(side, attributes):
        yield {"action": "create", "file_path": side, **_encoded(text)}
        yield {"action": "move", "previous_path": side, "file_path": path}
    else:
        # Everything here is marked: claim the name with nothing, then put the pointer in.
        yield {"action": "create", "file_path": path, **_encoded(b"")}
        yield {"action": "update", "file_path": path, **_encoded(text)}


def _encoded(content: bytes) -> Action:
    return {"content": base64.b64encode(content).decode("ascii"), "encoding": "base64"}
