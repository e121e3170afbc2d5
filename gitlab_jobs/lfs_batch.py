"""The batch call of Git LFS: which objects does the server have, and where do their bytes go or come from?

Knows no file and no stream; `lfs_transfer` acts on the answers. GitLab wants the project's path, not
its id, and Basic authentication here (Git LFS: API, version 1; GitLab: `LfsApiController`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gitlab_jobs.errors import StoreError
from gitlab_jobs.gitlab_errors import RequestFailed
from gitlab_jobs.gitlab_session import GitLabSession
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.store import ProjectRef

MEDIA_TYPE = "application/vnd.git-lfs+json"
BATCH_OBJECTS = 100

Operation = Literal["download", "upload"]


@dataclass(frozen=True, slots=True)
class Action:
    """Where to send or fetch an object, with the headers to use for that address only."""

    href: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BatchReply:
    """What a server said: `actions` by oid, and the oids that it does not have.

    On upload, an object without an action is there already.
    """

    actions: Mapping[str, Action]
    missing: frozenset[str]


def request_batch(
    session: GitLabSession, project: ProjectRef, operation: Operation, pointers: Sequence[Pointer]
) -> BatchReply:
    """Ask about at most `BATCH_OBJECTS` objects.

    Raises:
        StoreError: the server refuses the operation, or one of the uploads.
    """
    body = {
        "operation": operation,
        "transfers": ["basic"],
        "ref": {"name": f"refs/heads/{project.default_branch}"},
        "hash_algo": "sha256",
        "objects": [{"oid": pointer.oid, "size": pointer.size} for pointer in pointers],
    }
    entries = session.call(lambda: _post(session, project, body))
    asked = {pointer.oid for pointer in pointers}
    actions: dict[str, Action] = {}
    missing: set[str] = set()
    for entry in entries:
        oid = entry.get("oid")
        if oid not in asked:
            continue
        if error := entry.get("error"):
            if operation == "upload":
                raise StoreError(f"the server does not want object {oid}: {error.get('message')}")
            missing.add(oid)
        elif action := (entry.get("actions") or {}).get(operation):
            session.transport.check_allowed(str(action["href"]))
            actions[oid] = Action(str(action["href"]), dict(action.get("header") or {}))
    return BatchReply(actions, frozenset(missing))


def portions(pointers: Sequence[Pointer]) -> Iterator[Sequence[Pointer]]:
    """Cut a list into what one batch may hold."""
    for start in range(0, len(pointers), BATCH_OBJECTS):
        yield pointers[start : start + BATCH_OBJECTS]


def _post(
    session: GitLabSession, project: ProjectRef, body: Mapping[str, Any]
) -> list[dict[str, Any]]:
    reply = session.transport.post(
        f"{session.url}/{project.path}.git/info/lfs/objects/batch",
        json=body,
        headers={"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE},
        auth=session.transport.basic_auth,
    )
    try:
        entries = reply.json()["objects"]
    except (ValueError, KeyError, TypeError) as error:
        raise RequestFailed("an LFS batch reply that is not readable", sent=True) from error
    return [entry for entry in entries if isinstance(entry, dict)]
