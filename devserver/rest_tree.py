"""REST: directory listings and blobs by id."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict

from starlette.responses import Response
from starlette.routing import BaseRoute

from devserver import errors
from devserver.call import Call, Json, api
from devserver.limits import MIB
from devserver.objects import Entry
from devserver.pagination import link, page_size, paginate

LARGE_BLOB_BYTES = 10 * MIB
RAW_HEADERS = {
    "Cache-Control": "max-age=0, private, must-revalidate, no-store, no-cache",
    "Expires": "Fri, 01 Jan 1990 00:00:00 GMT",
    "Pragma": "no-cache",
}
_TYPE_ORDER = {"tree": 0, "blob": 1, "commit": 2}


def list_tree(call: Call) -> Response:
    """Answer what is in a directory."""
    project, repository = call.code()
    path = (call.text("path") or "").strip("/")
    ref = call.text("ref") or project.default_branch
    if repository.resolve(ref) is None:
        raise errors.not_found("Tree")
    recursive = call.flag("recursive")
    paging = call.text("pagination")
    if paging == "none" and not recursive:
        text = 'pagination cannot be "none" unless "recursive" is true'
        raise errors.ParameterError(text)
    entries = repository.entries(ref, path, recursive=recursive)
    if entries is None:
        raise errors.not_found("invalid revision or path")
    if paging == "none":
        return Json(_shown(entries))
    ordered = sorted(entries, key=lambda entry: _TYPE_ORDER[entry.type])
    if paging == "keyset":
        return _keyset_page(call, ordered)
    page, headers = paginate(call, ordered)
    return Json(_shown(page), headers=headers)


def show_blob(call: Call) -> Response:
    """Answer the content of a blob, in base64."""
    content = _blob(call)
    return Json(
        {
            "size": len(content),
            "encoding": "base64",
            "content": base64.b64encode(content).decode("ascii"),
            "sha": call.path["sha"],
        }
    )


def show_raw_blob(call: Call) -> Response:
    """Answer the content of a blob as it is."""
    content = _blob(call)
    headers = {**RAW_HEADERS, "Content-Disposition": "inline"}
    return Response(content, media_type=media_type(content), headers=headers)


def media_type(content: bytes) -> str:
    """Return what raw endpoints call a content: text as plain text, the rest as bytes."""
    return "application/octet-stream" if b"\0" in content[:8000] else "text/plain"


def _blob(call: Call) -> bytes:
    project, repository = call.code()
    content = repository.blob(call.path["sha"])
    if content is None:
        raise errors.not_found("Blob")
    if len(content) > LARGE_BLOB_BYTES:
        call.limit("large_blob", project.id)
    return content


def _keyset_page(call: Call, entries: Sequence[Entry]) -> Response:
    size = page_size(call)
    asked = call.text("page_token")
    tokens = _page_tokens(entries)
    if asked and asked not in tokens:
        raise errors.ParameterError(f"unable to find page token {asked}")
    start = tokens.index(asked) + 1 if asked else 0
    end = start + size
    headers = {}
    if end < len(entries):
        headers["Link"] = link(call, "next", page_token=tokens[end - 1])
    return Json(_shown(entries[start:end]), headers=headers)


def _page_tokens(entries: Sequence[Entry]) -> list[str]:
    """Name each entry by its object id; the same content at a second path gets its path too."""
    seen: set[str] = set()
    tokens = []
    for entry in entries:
        tokens.append(f"{entry.id}:{entry.path}" if entry.id in seen else entry.id)
        seen.add(entry.id)
    return tokens


def _shown(entries: Sequence[Entry]) -> list[dict[str, str]]:
    return [asdict(entry) for entry in entries]


routes: list[BaseRoute] = [
    api("GET", "/projects/{id}/repository/tree", list_tree),
    api("GET", "/projects/{id}/repository/blobs/{sha}", show_blob),
    api("GET", "/projects/{id}/repository/blobs/{sha}/raw", show_raw_blob),
]
