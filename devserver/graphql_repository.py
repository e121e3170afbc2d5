"""What GraphQL says about a repository: blobs by path, a tree, its last commit.

Every class answers one type of the schema: an attribute or method per field, named in snake case.
Blobs of one query may hold 20 MB together, and each is read up to 10 MB.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLResolveInfo,
    SelectionSetNode,
)

from devserver.graphql_pages import BY_POSITION, Connection, PageArguments, page_of
from devserver.lfs_store import Pointer, parse_pointer
from devserver.objects import Commit, Entry
from devserver.world import Project, World

Info = GraphQLResolveInfo[Any]

MIB = 1024 * 1024
TOTAL_BLOB_BYTES = 20 * MIB
BLOB_BYTES = 10 * MIB

_DATA_FIELDS = {"rawBlob", "rawTextBlob", "base64EncodedBlob"}
_BINARY_PROBE_BYTES = 8000


class RepositoryNode:
    """The repository of one project."""

    def __init__(self, world: World, project: Project, max_page_size: int) -> None:
        self._world = world
        self._project = project
        self._max_page_size = max_page_size
        self._git = world.repository(project)
        self.exists = True

    @property
    def root_ref(self) -> str | None:
        """The default branch; None while there is no branch."""
        return None if self._git.is_empty else self._git.root_ref

    @property
    def empty(self) -> bool:
        """Whether there is no branch."""
        return self._git.is_empty

    def branch_names(self, _info: Info, limit: int, offset: int, search_pattern: str) -> list[str]:
        """Return the branches whose name holds the pattern (`*` for any text)."""
        wanted = search_pattern.replace("*", "")
        return [name for name in self._git.branches() if wanted in name][offset : offset + limit]

    def blobs(
        self, info: Info, paths: list[str], ref: str | None = None, **arguments: Any
    ) -> Connection[BlobNode]:
        """Return the files among the paths, in no order worth relying on."""
        commit_id = self._git.resolve(ref or "HEAD")
        entries = [self._git.entry(commit_id, path) for path in paths] if commit_id else []
        files = [entry for entry in entries if entry is not None and entry.type == "blob"]
        if len(paths) > 1 and _wants_data(info):
            self._check_total(files)
        nodes = [
            BlobNode(self._world, self._project, entry, ref or self._project.default_branch)
            for entry in sorted(files, key=lambda entry: entry.id)
        ]
        page = PageArguments.take(arguments)
        return page_of(nodes, BY_POSITION, page, self._max_page_size)

    def tree(
        self,
        _info: Info,
        path: str | None = "",
        ref: str | None = None,
        recursive: bool | None = False,  # noqa: FBT001, FBT002  # an argument of the schema
        **_arguments: Any,
    ) -> TreeNode:
        """Return a directory; one that does not exist is empty."""
        node = TreeNode(self._world, self._project, ref or "HEAD", path or "")
        node.recursive, node.max_page_size = bool(recursive), self._max_page_size
        return node

    def _check_total(self, files: Iterable[Entry]) -> None:
        total = sum(self._git.blob_size(entry.id) for entry in files)
        if total > TOTAL_BLOB_BYTES:
            limit = TOTAL_BLOB_BYTES // MIB
            raise GraphQLError(
                f"Max blobs size limit exceeded ({total / MIB:.3g} MB / {limit} MB)."
            )


class BlobNode:
    """One file; an LFS file is its pointer."""

    def __init__(self, world: World, project: Project, entry: Entry, ref: str) -> None:
        self._git = world.repository(project)
        self._lfs_enabled = project.lfs_enabled
        self.id = f"gid://gitlab/Gitlab::Git::Blob/{entry.id}"
        self.oid = entry.id
        self.path, self.name, self.mode = entry.path, entry.name, entry.mode
        self.web_path = f"/{project.path}/-/blob/{ref}/{entry.path}"
        self.raw_path = f"/{project.path}/-/raw/{ref}/{entry.path}"

    @property
    def size(self) -> str:
        """The size in bytes; GitLab's BigInt is sent as text."""
        return str(self._git.blob_size(self.oid))

    @property
    def raw_size(self) -> int:
        """The size in bytes, of the large object if this is a pointer."""
        return self._pointer.size if self._pointer else self._git.blob_size(self.oid)

    @property
    def lfs_oid(self) -> str | None:
        """The large object this stands for."""
        return self._pointer.oid if self._pointer else None

    @property
    def raw_blob(self) -> str:
        """The content as text, whatever it is."""
        return self._content.decode("utf-8", "replace")

    @property
    def raw_text_blob(self) -> str | None:
        """The content, if it is text."""
        return None if b"\0" in self._content[:_BINARY_PROBE_BYTES] else self.raw_blob

    @property
    def base64_encoded_blob(self) -> str:
        """The content, base64-encoded."""
        return base64.b64encode(self._content).decode()

    @cached_property
    def _content(self) -> bytes:
        return (self._git.blob(self.oid) or b"")[:BLOB_BYTES]

    @cached_property
    def _pointer(self) -> Pointer | None:
        return parse_pointer(self._content) if self._lfs_enabled else None


@dataclass
class TreeNode:
    """One directory, with everything below it if the query says `recursive`."""

    world: World
    project: Project
    ref: str
    path: str
    recursive: bool = False
    max_page_size: int = 100

    @property
    def last_commit(self) -> CommitNode | None:
        """The last commit that touched the directory."""
        repository = self.world.repository(self.project)
        commit_id = repository.last_commit_for(self.ref, self.path)
        if commit_id is None:
            return None
        return CommitNode(self.world, self.project, repository.commit(commit_id))

    def blobs(self, _info: Info, **arguments: Any) -> Connection[TreeEntryNode]:
        """Return the files."""
        return self._entries("blob", arguments)

    def trees(self, _info: Info, **arguments: Any) -> Connection[TreeEntryNode]:
        """Return the directories."""
        return self._entries("tree", arguments)

    def _entries(self, kind: str, arguments: dict[str, Any]) -> Connection[TreeEntryNode]:
        repository = self.world.repository(self.project)
        listing = repository.entries(self.ref, self.path, recursive=self.recursive) or ()
        nodes = [TreeEntryNode(entry) for entry in listing if entry.type == kind]
        page = PageArguments.take(arguments)
        return page_of(nodes, BY_POSITION, page, self.max_page_size)


class TreeEntryNode:
    """A file or directory as listed in a tree."""

    def __init__(self, entry: Entry) -> None:
        self.id = f"gid://gitlab/Gitlab::Graphql::Representation::TreeEntry/{entry.id}"
        self.sha, self.name, self.type, self.mode = entry.id, entry.name, entry.type, entry.mode
        self.path = self.flat_path = entry.path
        self.lfs_oid = None


class CommitNode:
    """A commit; dates keep the offset they were written with."""

    def __init__(self, world: World, project: Project, commit: Commit) -> None:
        self.id = f"gid://gitlab/CommitPresenter/{commit.id}"
        self.sha, self.short_id = commit.id, commit.id[:8]
        self.title, self.message = commit.title, commit.message
        self.author_name, self.author_email = commit.author.name, commit.author.email
        self.committer_name = commit.committer.name
        self.authored_date = time_text(commit.author.at)
        self.committed_date = time_text(commit.committer.at)
        self.web_url = f"{world.external_url}/{project.path}/-/commit/{commit.id}"


def time_text(moment: datetime) -> str:
    """Write a time as GitLab's GraphQL does: to the second, UTC as `Z`."""
    return moment.isoformat(timespec="seconds").removesuffix("+00:00") + (
        "Z" if not moment.utcoffset() else ""
    )


def _wants_data(info: Info) -> bool:
    """Tell whether the content of blobs is asked for anywhere below this field."""
    pending = [node.selection_set for node in info.field_nodes]
    while pending:
        selection_set: SelectionSetNode | None = pending.pop()
        for node in selection_set.selections if selection_set else ():
            if isinstance(node, FieldNode) and node.name.value in _DATA_FIELDS:
                return True
            if isinstance(node, FragmentSpreadNode):
                pending.append(info.fragments[node.name.value].selection_set)
            else:
                pending.append(getattr(node, "selection_set", None))
    return False
