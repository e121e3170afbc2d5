"""The JSON form of what changed between two trees."""

from __future__ import annotations

from typing import Any

import pygit2
from pygit2.enums import DeltaStatus


def diff_entities(diff: pygit2.Diff) -> list[dict[str, Any]]:
    """Return one entity per changed file; renames are found as Git finds them."""
    diff.find_similar()
    return [_file(patch) for patch in diff]


def _file(patch: pygit2.Patch) -> dict[str, Any]:
    delta = patch.delta
    added, deleted = delta.status == DeltaStatus.ADDED, delta.status == DeltaStatus.DELETED
    text = b"" if delta.is_binary else patch.data
    # The four header lines name the files, which the entity does on its own.
    _, found, hunks = text.partition(b"\n@@")
    return {
        "diff": (b"@@" + hunks).decode("utf-8", "replace") if found else "",
        "collapsed": False,
        "too_large": False,
        "new_path": delta.new_file.path,
        "old_path": delta.old_file.path,
        "a_mode": f"{0 if added else int(delta.old_file.mode):o}",
        "b_mode": f"{0 if deleted else int(delta.new_file.mode):o}",
        "new_file": added,
        "renamed_file": delta.status == DeltaStatus.RENAMED,
        "deleted_file": deleted,
        "generated_file": False,
    }
