"""One bare Git repository: reads, and the compare-and-swap that moves a branch.

    Repository ── reads ──► pygit2 (one object per repository, shared by all threads)
        │
        └── move_branch(old, new) ── libgit2 ref transaction ── refs/heads/NAME.lock

The swap reads the branch under Git's own lock file, so it also holds against a `git push` served by
another process. Knows nothing of projects, users, LFS or HTTP. Nothing here starts a subprocess.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, ObjectType, SortMode

from devserver.history import History, look_up
from devserver.objects import Commit, DiffSize, Entry, Signature
from devserver.trees import TreeEditor

_TYPES = {ObjectType.BLOB: "blob", ObjectType.TREE: "tree", ObjectType.COMMIT: "commit"}
_CACHED_LISTINGS = 256
_CRUD = str.maketrans("", "", "<>\n\r\0")

# Repacking under a running server buys nothing here and would race with readers.
_CONFIG = """
[gc]
\tauto = 0
[receive]
\tautogc = false
[maintenance]
\tauto = false
[uploadpack]
\tallowFilter = true
\tallowAnySHA1InWant = true
"""


class RefChangedError(Exception):
    """The branch is no longer where the caller expected it."""


class RefExistsError(Exception):
    """The branch to be created is there already."""


class RefLockedError(Exception):
    """Another process is moving the branch at this moment."""


class Repository:
    """A bare repository under `path`, safe under threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._git = pygit2.Repository(str(path))
        self._swap_lock = threading.Lock()
        self._history = History(self._git)
        self._listings: dict[tuple[str, str, bool], tuple[Entry, ...]] = {}

    @classmethod
    def create(cls, path: Path, default_branch: str) -> Repository:
        """Make an empty repository whose HEAD names `default_branch`."""
        pygit2.init_repository(str(path), bare=True, initial_head=default_branch)
        with (path / "config").open("a", encoding="utf-8") as config:
            config.write(_CONFIG)
        return cls(path)

    # Names

    @property
    def root_ref(self) -> str:
        """The branch HEAD names, whether it exists or not."""
        return str(self._git.lookup_reference("HEAD").target).removeprefix("refs/heads/")

    @property
    def is_empty(self) -> bool:
        """Whether there is no branch at all."""
        return not self.branches()

    def branches(self) -> list[str]:
        """Return the names of all branches, sorted."""
        return sorted(self._git.listall_branches())

    def head(self, branch: str) -> str | None:
        """Return the commit a branch points to."""
        return self._ref_target(f"refs/heads/{branch}")

    def resolve(self, ref: str) -> str | None:
        """Return the commit a branch, tag, commit id or `HEAD` names."""
        if not ref or ref.startswith("-") or "\0" in ref:
            return None
        if ref == "HEAD":
            return self.head(self.root_ref)
        commit_id = self.head(ref)
        if commit_id is not None and self._ref_target(f"refs/tags/{ref}") is None:
            return commit_id
        try:
            found = self._git.revparse_single(ref)
            return str(found.peel(pygit2.Commit).id)
        except (KeyError, ValueError, pygit2.GitError):
            return None

    # Content

    def read_blob(self, ref: str, path: str) -> tuple[str, bytes] | None:
        """Return (blob id, content) of a file at a ref."""
        found = self.entry(ref, path)
        if found is None or found.type != "blob":
            return None
        return found.id, self._git[found.id].data

    def blob(self, blob_id: str) -> bytes | None:
        """Return the content of a blob by its id."""
        try:
            found = self._git[blob_id]
        except (KeyError, ValueError, pygit2.GitError):
            return None
        return found.data if isinstance(found, pygit2.Blob) else None

    def blob_size(self, blob_id: str) -> int:
        """Return the size of a blob without reading it."""
        return int(self._git.odb.read_header(blob_id)[1])

    def entry(self, ref: str, path: str) -> Entry | None:
        """Return the file or directory at a path (`""`: the root directory)."""
        commit_id = self.resolve(ref)
        if commit_id is None:
            return None
        tree = self._git[commit_id].tree
        if not path.strip("/"):
            return Entry(str(tree.id), "", "tree", "", "040000")
        found = look_up(tree, path)
        return None if found is None else _entry(found, path)

    def entries(
        self, ref: str, path: str = "", *, recursive: bool = False
    ) -> tuple[Entry, ...] | None:
        """List a directory in Git's order; None if the ref or the directory does not exist.

        A recursive listing names every directory before what is in it.
        """
        path = path.strip("/")
        found = self.entry(ref, path)
        if found is None or found.type != "tree":
            return None
        key = (found.id, path, recursive)
        listing = self._listings.get(key)
        if listing is None:
            listing = tuple(self._walk_tree(self._git[found.id], path, recursive=recursive))
            if len(self._listings) >= _CACHED_LISTINGS:
                self._listings.clear()
            self._listings[key] = listing
        return listing

    # History

    def commit(self, commit_id: str) -> Commit:
        """Return a commit by its full id."""
        return _commit(self._git[commit_id])

    def last_commit_for(self, ref: str, path: str) -> str | None:
        """Return the last commit that touched a file or directory, as seen from a ref."""
        commit_id = self.resolve(ref)
        return None if commit_id is None else self._history.last_touch(commit_id, path.strip("/"))

    def log(self, ref: str, path: str = "", *, first_parent: bool = False) -> Iterator[Commit]:
        """Yield commits from a ref backwards, newest first; with a path only those touching it."""
        commit_id = self.resolve(ref)
        if commit_id is not None:
            found = self._history.walk(commit_id, path.strip("/"), first_parent=first_parent)
            yield from map(_commit, found)

    def ids_between(self, start: str, end: str) -> list[str]:
        """Return the commits reachable from `end` but not from `start`, oldest first."""
        walker = self._git.walk(end, SortMode.TOPOLOGICAL | SortMode.REVERSE)
        walker.hide(start)
        return [str(commit.id) for commit in walker]

    def count_new(self, before: str | None, after: str | None) -> int:
        """Count the commits a push brought to a branch."""
        return 0 if after is None else self._history.count(after, without=before)

    def diff_size(self, commit_id: str) -> DiffSize:
        """Count the lines a commit changed."""
        parent_ids = self._git[commit_id].parent_ids
        stats = self.diff(str(parent_ids[0]) if parent_ids else None, commit_id).stats
        return DiffSize(stats.insertions, stats.deletions)

    def diff(self, before: str | None, after: str) -> pygit2.Diff:
        """Return the difference between two commits (None: from nothing)."""
        new = self._git[after].tree
        if before is None:
            return new.diff_to_tree(swap=True)
        return self._git[before].tree.diff_to_tree(new)

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the best common ancestor of two commits."""
        found = self._git.merge_base(one, other)
        return None if found is None else str(found)

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Say whether one commit contains the other."""
        return ancestor == descendant or self._git.descendant_of(descendant, ancestor)

    # Writing

    def write_blob(self, content: bytes) -> str:
        """Store bytes and return their blob id."""
        return str(self._git.create_blob(content))

    def edit(self, commit_id: str | None) -> TreeEditor:
        """Start an in-memory copy of a commit's tree (None: an empty one)."""
        return TreeEditor(self._git, None if commit_id is None else self._git[commit_id].tree)

    def write_commit(
        self,
        tree_id: str,
        parent_ids: list[str],
        message: str,
        author: tuple[str, str],
        committer: tuple[str, str],
    ) -> str:
        """Store a commit dated now (server's clock); no branch moves."""
        now = int(datetime.now(UTC).timestamp())
        return str(
            self._git.create_commit(
                None,
                pygit2.Signature(*map(_without_crud, author), now, 0),
                pygit2.Signature(*map(_without_crud, committer), now, 0),
                message,
                tree_id,
                list(parent_ids),
            )
        )

    def move_branch(self, branch: str, new: str | None, expected: str | None) -> None:
        """Swap a branch from `expected` to `new`, or change nothing; None means "no branch".

        Raises:
            RefChangedError: It is elsewhere.
            RefExistsError: It should not exist but does.
            RefLockedError: Another process holds its lock.
        """
        ref_name = f"refs/heads/{branch}"
        with self._swap_lock, self._git.transaction() as transaction:
            try:
                transaction.lock_ref(ref_name)
            except pygit2.GitError as error:
                raise RefLockedError(branch) from error
            current = self._ref_target(ref_name)
            if current != expected:
                raise RefExistsError(branch) if expected is None else RefChangedError(branch)
            if new is None:
                transaction.remove(ref_name)
            else:
                transaction.set_target(ref_name, new)

    def _ref_target(self, ref_name: str) -> str | None:
        try:
            target = self._git.lookup_reference(ref_name).target
        except (KeyError, ValueError, pygit2.GitError):
            return None
        return str(target)

    def _walk_tree(self, tree: pygit2.Tree, path: str, *, recursive: bool) -> Iterator[Entry]:
        for item in tree:
            item_path = f"{path}/{item.name}" if path else item.name
            yield _entry(item, item_path)
            if recursive and item.type == ObjectType.TREE:
                yield from self._walk_tree(item, item_path, recursive=True)


def _entry(item: pygit2.Object, path: str) -> Entry:
    name = path.rpartition("/")[2]
    mode = FileMode.TREE if item.filemode is None else item.filemode
    return Entry(str(item.id), name, _TYPES[ObjectType(item.type)], path, f"{int(mode):06o}")


def _commit(found: pygit2.Commit) -> Commit:
    return Commit(
        str(found.id),
        str(found.tree_id),
        tuple(map(str, found.parent_ids)),
        found.message,
        _signature(found.author),
        _signature(found.committer),
    )


def _without_crud(text: str) -> str:
    """Drop what would break a commit's header lines, as Git does."""
    return text.translate(_CRUD).strip() or "unknown"


def _signature(found: pygit2.Signature) -> Signature:
    zone = timezone(timedelta(minutes=found.offset))
    return Signature(found.name, found.email, datetime.fromtimestamp(found.time, zone))
