"""REST: single files, read and written. Prefer the commits API for writes: it says what it made."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute

from devserver import errors
from devserver.auth import FILE_SCOPES
from devserver.call import Call, Json, api
from devserver.commit_actions import commit_files
from devserver.commit_request import Action, ActionKind, CommitRequest, file_request
from devserver.headers import header_text
from devserver.lfs_store import LfsStore, parse_pointer
from devserver.repository import Repository
from devserver.rest_commits import LARGE_WRITE_BYTES
from devserver.rest_tree import LARGE_BLOB_BYTES, RAW_HEADERS, media_type
from devserver.world import Project


@dataclass(frozen=True)
class _File:
    """A file at a ref; what GitLab tells of it, in JSON and in headers."""

    project: Project
    repository: Repository
    path: str
    ref: str
    commit_id: str
    blob_id: str
    mode: str

    @cached_property
    def content(self) -> bytes:
        return self.repository.blob(self.blob_id) or b""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def facts(self) -> dict[str, Any]:
        return {
            "file_name": self.name,
            "file_path": self.path,
            "size": len(self.content),
            "encoding": "base64",
            "content_sha256": hashlib.sha256(self.content).hexdigest(),
            "ref": self.ref,
            "blob_id": self.blob_id,
            "commit_id": self.commit_id,
            "last_commit_id": self.repository.last_commit_for(self.commit_id, self.path),
            "execute_filemode": self.mode == "100755",
        }


def show_file(call: Call) -> Response:
    """Answer a file in base64, with its facts in body and headers; HEAD sends the headers alone."""
    call.require("ref")
    file = _find(call, call.text("ref") or "")
    facts = file.facts()
    headers = _headers(facts)
    if call.request.method == "HEAD":
        return Response(status_code=200, headers=headers)
    if len(file.content) > LARGE_BLOB_BYTES:
        call.limit("large_blob", file.project.id)
    facts["content"] = base64.b64encode(file.content).decode("ascii")
    return Json(facts, headers=headers)


def show_raw_file(call: Call) -> Response:
    """Answer a file as it is, or with `lfs=true` the large object its pointer stands for."""
    file = _find(call, call.text("ref") or "HEAD")
    if call.flag("lfs") and (pointer := parse_pointer(file.content)) is not None:
        if call.world.lfs_size(file.project, pointer.oid) is None:
            raise errors.not_found()
        target = LfsStore(call.world.root).path(pointer.oid)
        return FileResponse(target, media_type="application/octet-stream", filename=file.name)
    headers = _headers(file.facts()) | RAW_HEADERS
    headers["Content-Disposition"] = f'inline; filename="{header_text(file.name)}"'
    return Response(file.content, media_type=media_type(file.content), headers=headers)


def create_file(call: Call) -> Response:
    """Commit a new file."""
    return _write(call, ActionKind.CREATE, 201)


def update_file(call: Call) -> Response:
    """Commit new content for a file."""
    return _write(call, ActionKind.UPDATE, 200)


def delete_file(call: Call) -> Response:
    """Commit the removal of a file."""
    _commit(call, ActionKind.DELETE)
    return Response(status_code=204)


def _write(call: Call, kind: ActionKind, status: int) -> Response:
    request = _commit(call, kind)
    return Json({"file_path": request.actions[0].path, "branch": request.branch}, status)


def _commit(call: Call, kind: ActionKind) -> CommitRequest:
    project, _ = call.code()
    user = call.signed_in()
    if call.body_size > LARGE_WRITE_BYTES:
        call.limit("large_write", user.id)
    request = file_request(call, kind, _path(call))
    commit_files(call.world, project, user, request, stale_text=_stale_text)
    return request


def _stale_text(action: Action) -> str:
    if action.kind is ActionKind.DELETE:
        return "You are attempting to delete a file that has been previously updated."
    return "You are attempting to update a file that has changed since you started editing it."


def _find(call: Call, ref: str) -> _File:
    path = _path(call)
    project, repository = call.code()
    commit_id = repository.resolve(ref)
    if commit_id is None:
        raise errors.not_found("Commit")
    entry = repository.entry(commit_id, path)
    if entry is None or entry.type != "blob":
        raise errors.not_found("File")
    return _File(project, repository, path, ref, commit_id, entry.id, entry.mode)


def _path(call: Call) -> str:
    path = call.path["file_path"]
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise errors.ParameterError("file_path should be a valid file path")
    return path


def _headers(facts: dict[str, Any]) -> dict[str, str]:
    return {
        f"X-Gitlab-{name.replace('_', '-').title()}": _header_value(value)
        for name, value in facts.items()
    }


def _header_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return header_text("" if value is None else str(value))


_PATH = "/projects/{id}/repository/files/{file_path}"

routes: list[BaseRoute] = [
    api("GET", _PATH, show_file, scopes=FILE_SCOPES),
    api("GET", f"{_PATH}/raw", show_raw_file, scopes=FILE_SCOPES),
    api("POST", _PATH, create_file),
    api("PUT", _PATH, update_file),
    api("DELETE", _PATH, delete_file),
]
