"""What GitLab does with LFS when a commit is made through its API: conversion and integrity check.

Conversion trusts the path alone: pointer text sent to a tracked path is wrapped a second time, as
GitLab does. Called by the commit endpoints; knows no HTTP. Pushes are checked in `push_check.py`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from devserver.lfs_store import POINTER_LIMIT_BYTES, LfsStore, parse_pointer
from devserver.world import Project, World

ATTRIBUTES_PATH = ".gitattributes"
"""Only the file in the root directory counts."""


def transform_content(
    world: World, project: Project, branch: str, path: str, content: bytes
) -> bytes:
    """Return what to commit: pointer text if the branch tracks the path in LFS, else the content."""
    if not project.lfs_enabled:
        return content
    attributes = world.repository(project).read_blob(branch, ATTRIBUTES_PATH)
    if attributes is None or not is_tracked(attributes[1], path):
        return content
    return store_object(world, project, content)


def store_object(world: World, project: Project, content: bytes) -> bytes:
    """Keep content as an LFS object of the project and return its pointer text."""
    pointer = LfsStore(world.root).add(content)
    world.link_lfs(project, pointer.oid, pointer.size)
    return pointer.text()


def missing_objects(world: World, project: Project, new_blob_ids: Iterable[str]) -> list[str]:
    """Return the objects that new pointer blobs name but the project does not hold."""
    if not project.lfs_enabled:
        return []
    repository = world.repository(project)
    missing: list[str] = []
    for blob_id in new_blob_ids:
        if repository.blob_size(blob_id) >= POINTER_LIMIT_BYTES:
            continue
        pointer = parse_pointer(repository.blob(blob_id) or b"")
        if pointer is not None and world.lfs_size(project, pointer.oid) is None:
            missing.append(pointer.oid)
    return missing


def is_tracked(attributes: bytes, path: str) -> bool:
    """Tell whether `filter=lfs` is set for a path by the last line that matches it.

    GitLab anchors each pattern at the root and matches with fnmatch, where `*` also crosses `/`.
    """
    for line in reversed(attributes.decode("utf-8", "replace").splitlines()):
        pattern, *settings = line.split() or [""]
        if not pattern or pattern.startswith("#"):
            continue
        anchored = "/" + pattern.lstrip("/").replace("[^", "[!")
        if fnmatch.fnmatchcase(f"/{path}", anchored):
            return "filter=lfs" in settings
    return False
