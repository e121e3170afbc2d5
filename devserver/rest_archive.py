"""REST: a ref, or a folder of it, as one archive; large objects in place of their pointers if asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from devserver import archives, errors, lfs_rules
from devserver.archives import Member, Snapshot
from devserver.call import Call, api
from devserver.headers import header_text
from devserver.lfs_store import LfsStore, parse_pointer
from devserver.objects import Entry
from devserver.repository import Repository
from devserver.world import Project, World

_CHUNK_BYTES = 256 * 1024
_FORMATS: dict[str, Callable[[Snapshot], Iterator[bytes]]] = {
    "tar.gz": archives.tar_gz,
    "tgz": archives.tar_gz,
    "gz": archives.tar_gz,
    "tar": archives.tar,
    "tar.bz2": archives.tar_bz2,
    "tbz": archives.tar_bz2,
    "tbz2": archives.tar_bz2,
    "tb2": archives.tar_bz2,
    "bz2": archives.tar_bz2,
    "zip": archives.zipped,
}


def show_archive(call: Call) -> Response:
    """Stream an archive whose top folder is NAME-REF-SHA (with the path, if one is asked for)."""
    project, repository = call.code()
    call.limit("archive", call.user.id if call.user else None, project.id)
    kind = call.path.get("format") or call.text("format") or "tar.gz"
    ref = call.text("sha") or project.default_branch
    path = (call.text("path") or "").strip("/")
    commit_id = repository.resolve(ref)
    if commit_id is None or kind not in _FORMATS or repository.entry(commit_id, path) is None:
        raise errors.not_found("File")
    segments = [project.name, ref.replace("/", "-"), commit_id, path.replace("/", "-")]
    name = "-".join(segment for segment in segments if segment)
    members = _Members(call.world, project, repository, commit_id)
    snapshot = Snapshot(
        name,
        commit_id,
        repository.commit(commit_id).committer.at,
        members.under(path, with_lfs=call.flag("include_lfs_blobs", default=True)),
    )
    return StreamingResponse(
        _FORMATS[kind](snapshot),
        media_type="application/zip" if kind == "zip" else "application/octet-stream",
        headers={
            "Content-Disposition": header_text(f'attachment; filename="{name}.{kind}"'),
            "Content-Transfer-Encoding": "binary",
        },
    )


class _Members:
    """Turns entries of a commit into members of an archive."""

    def __init__(
        self, world: World, project: Project, repository: Repository, commit_id: str
    ) -> None:
        self._world = world
        self._project = project
        self._repository = repository
        self._commit_id = commit_id
        self._store = LfsStore(world.root)
        found = repository.read_blob(commit_id, lfs_rules.ATTRIBUTES_PATH)
        self._attributes = found[1] if found else b""

    def under(self, path: str, *, with_lfs: bool) -> Iterator[Member]:
        """Yield what is at a path and below, after the directories that lead to it."""
        steps = path.split("/") if path else []
        for depth in range(1, len(steps)):
            yield Member("/".join(steps[:depth]))
        entry = self._repository.entry(self._commit_id, path)
        if path and entry is not None:
            yield self._member(entry, with_lfs=with_lfs)
        for item in self._repository.entries(self._commit_id, path, recursive=True) or ():
            yield self._member(item, with_lfs=with_lfs)

    def _member(self, entry: Entry, *, with_lfs: bool) -> Member:
        if entry.type != "blob":
            return Member(entry.path)
        size = self._repository.blob_size(entry.id)
        content: Callable[[], archives.Chunks] = partial(self._blob, entry.id)
        if with_lfs and lfs_rules.is_tracked(self._attributes, entry.path):
            pointer = parse_pointer(self._repository.blob(entry.id) or b"")
            if pointer and self._world.lfs_size(self._project, pointer.oid) is not None:
                size, content = pointer.size, partial(_read, self._store.path(pointer.oid))
        return Member(entry.path, size, content, entry.mode == "100755")

    def _blob(self, blob_id: str) -> archives.Chunks:
        return (self._repository.blob(blob_id) or b"",)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


_ARCHIVE = "/projects/{id}/repository/archive"

routes: list[BaseRoute] = [
    api("GET", _ARCHIVE, show_archive),
    api("GET", f"{_ARCHIVE}.{{format}}", show_archive),
]
