"""Walks over commits: who last touched a path, and the log, with Git's default simplification.

A commit touches a path if the entry there differs from every parent's; a merge that equals one
parent is passed through to that parent alone (`git log -- PATH` does the same). Tree-identical commits therefore
touch nothing. Knows pygit2 commits and nothing else.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

import pygit2

_CACHED_ANSWERS = 20_000

_UNKNOWN = ""

EntryKey = tuple[str, int] | None


class History:
    """Answers about one repository; remembers, for a commit and a path, the last touch."""

    def __init__(self, git: pygit2.Repository) -> None:
        self._git = git
        self._last: dict[tuple[str, str], str | None] = {}

    def last_touch(self, commit_id: str, path: str) -> str | None:
        """Return the last commit that touched `path` at or before a commit; `""` is the commit."""
        if not path:
            return commit_id
        found = self._find_touch(self._git[commit_id], path)
        if len(self._last) >= _CACHED_ANSWERS:
            self._last.clear()
        self._last[commit_id, path] = found
        return found

    def walk(self, commit_id: str, path: str, *, first_parent: bool) -> Iterator[pygit2.Commit]:
        """Yield commits newest first, children before parents; with a path only those touching it."""
        order = itertools.count()
        start = self._git[commit_id]
        queue = [(-start.commit_time, next(order), start)]
        seen = {commit_id}
        while queue:
            commit = heapq.heappop(queue)[2]
            touched, parents = self._simplify(commit, path)
            if touched:
                yield commit
            for parent in parents[:1] if first_parent else parents:
                if str(parent.id) not in seen:
                    seen.add(str(parent.id))
                    heapq.heappush(queue, (-parent.commit_time, next(order), parent))

    def count(self, commit_id: str, *, without: str | None) -> int:
        """Count the commits reachable from one commit but not from the other."""
        if without is not None and list(map(str, self._git[commit_id].parent_ids)) == [without]:
            return 1
        walker = self._git.walk(commit_id)
        if without is not None:
            walker.hide(without)
        return sum(1 for _ in walker)

    def _find_touch(self, commit: pygit2.Commit, path: str) -> str | None:
        while True:
            known = self._last.get((str(commit.id), path), _UNKNOWN)
            if known != _UNKNOWN:
                return known
            touched, parents = self._simplify(commit, path)
            if touched:
                return str(commit.id)
            if not parents:
                return None
            commit = parents[0]

    def _simplify(self, commit: pygit2.Commit, path: str) -> tuple[bool, list[pygit2.Commit]]:
        """Say whether the commit touches the path, and which parents the walk goes on to."""
        parents = [self._git[parent_id] for parent_id in commit.parent_ids]
        if not path:
            return True, parents
        mine = _entry_key(commit, path)
        if not parents:
            return mine is not None, []
        for parent in parents:
            if _entry_key(parent, path) == mine:
                return False, [parent]
        return True, parents


def look_up(tree: pygit2.Tree, path: str) -> pygit2.Object | None:
    """Return what is at a path, however odd the path."""
    if "\0" in path:
        # libgit2 would stop reading at the zero byte and find something else.
        return None
    try:
        return tree[path]
    except KeyError:
        return None


def _entry_key(commit: pygit2.Commit, path: str) -> EntryKey:
    found = look_up(commit.tree, path)
    return None if found is None else (str(found.id), int(found.filemode))
