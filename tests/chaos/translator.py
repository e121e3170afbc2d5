"""A translator with a clone: edits offline, syncs by the editor's rules, pushes like git does.

    commit ──► fetch ──► same head: push
                 ▲   ──► nothing of our own: fast-forward
                 │   ──► both: notebooks by cell, everything else "the local copy wins"; a merge commit
                 └────── the push lost against somebody: again

Lives in the server's process and moves the branch by the same compare-and-swap as a push, so that a test
can let a sync happen between any two steps of somebody else's commit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from support.editor_merge import merge_notebooks

from devserver.repository import RefChangedError, Repository
from devserver.trees import TreeItem

BRANCH = "main"
PLAIN_FILE = 0o100644

Json = dict[str, Any]
Files = dict[str, bytes]


class Translator:
    """One person, one clone."""

    def __init__(self, repository: Repository, name: str) -> None:
        self._repository = repository
        self.name = name
        self._base = self._head()
        self.files = self._tree(self._base)

    def edit_notebook(self, path: str, act: Callable[[Json], None]) -> None:
        """Change a notebook of the clone, if it has it."""
        if path in self.files:
            notebook = json.loads(self.files[path])
            act(notebook)
            self.files[path] = as_editor_writes(notebook)

    def delete_folder(self, folder: str) -> None:
        """Delete everything below a folder of the clone."""
        for path in [path for path in self.files if path.startswith(f"{folder}/")]:
            del self.files[path]

    def sync(self) -> None:
        """Share what was done and take over what others did."""
        base = self._tree(self._base)
        is_changed = self.files != base
        local = self._commit(self._base, self.files, [self._base]) if is_changed else self._base
        while True:
            head = self._head()
            if not is_changed:
                merged, commit = self._tree(head), head
            elif head == self._base:
                merged, commit = self.files, local
            else:
                merged = merge_trees(base, self.files, self._tree(head))
                commit = self._commit(local, merged, [local, head])
            try:
                if commit != head:
                    self._repository.move_branch(BRANCH, commit, head)
            except RefChangedError:
                continue
            self._base, self.files = commit, merged
            return

    def _head(self) -> str:
        head = self._repository.head(BRANCH)
        assert head is not None
        return head

    def _tree(self, commit: str) -> Files:
        entries = self._repository.entries(commit, "", recursive=True) or ()
        found: Files = {}
        for entry in entries:
            content = self._repository.blob(entry.id) if entry.type == "blob" else None
            if content is not None:
                found[entry.path] = content
        return found

    def _commit(self, start: str, files: Files, parents: list[str]) -> str:
        before = self._tree(start)
        tree = self._repository.edit(start)
        for path in before.keys() - files.keys():
            tree.remove(path)
        for path, content in files.items():
            if before.get(path) != content:
                tree.put(path, TreeItem(self._repository.write_blob(content), PLAIN_FILE))
        who = (self.name, f"{self.name}@example.com")
        message = "Sync" if len(parents) == 1 else "Merge branch 'origin/main'"
        return self._repository.write_commit(tree.write(), parents, message, who, who)


def merge_trees(base: Files, local: Files, remote: Files) -> Files:
    """The editor's resolution of two histories, file by file."""
    merged: Files = {}
    for path in {*base, *local, *remote}:
        content = _merge_file(path, base.get(path), local.get(path), remote.get(path))
        if content is not None:
            merged[path] = content
    return merged


def _merge_file(
    path: str, base: bytes | None, local: bytes | None, remote: bytes | None
) -> bytes | None:
    if base is None:
        both_new = local is not None and remote is not None
        if both_new and path.endswith(".codex"):
            return _merged_notebook(local, remote)
        return remote if local is None else local
    if local is None or remote is None:
        return None
    if remote != base and path.endswith(".codex"):
        return _merged_notebook(local, remote)
    return local


def _merged_notebook(local: bytes | None, remote: bytes | None) -> bytes:
    assert local is not None
    assert remote is not None
    return as_editor_writes(merge_notebooks(json.loads(local), json.loads(remote)))


def as_editor_writes(notebook: Json) -> bytes:
    """A notebook's bytes in the editor's style."""
    return (json.dumps(notebook, indent=2, ensure_ascii=False) + "\n").encode()
