"""An in-memory tree that is edited file by file and written once.

Directories are read only when an edit enters them, so a commit costs what it touches, not what the
repository holds. An emptied directory disappears, as in Git. Knows paths, modes and object ids; what
an edit may do to them is `commit_actions.py`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass

import pygit2
from pygit2.enums import FileMode, ObjectType

from devserver.objects import EMPTY_TREE_ID


class NotADirectoryInTreeError(Exception):
    """A component in the middle of a path is a file."""


@dataclass(frozen=True, slots=True)
class TreeItem:
    """A file in a tree; `mode` is 0o100644 or 0o100755 (or a link or submodule kept as it was)."""

    id: str
    mode: int


class _Directory:
    """One directory; children are directories already entered, or (id, mode) not yet looked into."""

    def __init__(self, git: pygit2.Repository, tree: pygit2.Tree | None) -> None:
        self._git = git
        self.children: dict[str, _Directory | TreeItem] = {}
        for item in tree or ():
            self.children[item.name] = TreeItem(str(item.id), int(item.filemode))

    def enter(self, name: str, *, create: bool) -> _Directory | None:
        """Return a child directory; None if there is none and `create` is false."""
        child = self.children.get(name)
        if isinstance(child, TreeItem):
            if child.mode != FileMode.TREE:
                if create:
                    raise NotADirectoryInTreeError(name)
                return None
            child = self.children[name] = _Directory(self._git, self._git[child.id])
        if child is None and create:
            child = self.children[name] = _Directory(self._git, None)
        return child

    def write(self) -> str | None:
        """Store the directory and return its tree id; None if nothing is left in it."""
        builder = self._git.TreeBuilder()
        for name, child in self.children.items():
            if isinstance(child, TreeItem):
                builder.insert(name, child.id, child.mode)
            elif (tree_id := child.write()) is not None:
                builder.insert(name, tree_id, FileMode.TREE)
        return str(builder.write()) if len(builder) else None


class TreeEditor:
    """A copy of a commit's tree; nothing is visible to others until `write` and a ref update."""

    def __init__(self, git: pygit2.Repository, tree: pygit2.Tree | None) -> None:
        self._git = git
        self._root = _Directory(git, tree)

    def file(self, path: str) -> TreeItem | None:
        """Return the file at a path; None for a directory or nothing."""
        child = self._child(path)
        return child if isinstance(child, TreeItem) and child.mode != FileMode.TREE else None

    def exists(self, path: str) -> bool:
        """Say whether a file or directory is at the path."""
        return self._child(path) is not None

    def put(self, path: str, item: TreeItem) -> None:
        """Place a file, with the directories above it; a directory at the path is replaced."""
        directory = self._root
        *parents, name = path.split("/")
        for parent in parents:
            entered = directory.enter(parent, create=True)
            assert entered is not None
            directory = entered
        directory.children[name] = item

    def remove(self, path: str) -> None:
        """Take away the file or the whole directory at an existing path."""
        parent, name = self._parent(path)
        assert parent is not None
        del parent.children[name]

    def write(self) -> str:
        """Store the tree and return its id."""
        tree_id = self._root.write()
        if tree_id is None:
            self._git.odb.write(ObjectType.TREE, b"")
        return tree_id or EMPTY_TREE_ID

    def _child(self, path: str) -> _Directory | TreeItem | None:
        parent, name = self._parent(path)
        return None if parent is None else parent.children.get(name)

    def _parent(self, path: str) -> tuple[_Directory | None, str]:
        directory: _Directory | None = self._root
        *parents, name = path.split("/")
        for parent in parents:
            if directory is not None:
                directory = directory.enter(parent, create=False)
        return directory, name
