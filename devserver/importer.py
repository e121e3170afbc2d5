"""First commits: a directory, or a README, as the start of a project's history.

Files that the directory's own root `.gitattributes` gives to LFS become large objects and pointers,
unless they are pointers already. Called when a world is built, before anyone can ask for anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pygit2.enums import FileMode

from devserver import lfs_rules
from devserver.lfs_store import parse_pointer
from devserver.repository import Repository
from devserver.trees import TreeItem
from devserver.world import Project, World

ADMINISTRATOR = ("Administrator", "admin@example.com")


def import_directory(world: World, project: Project, directory: Path) -> str:
    """Commit a directory as the first commit of the default branch and return its id."""
    repository = world.repository(project)
    attributes_path = directory / lfs_rules.ATTRIBUTES_PATH
    attributes = attributes_path.read_bytes() if attributes_path.is_file() else b""
    editor = repository.edit(None)
    for file in _files(directory):
        path = file.relative_to(directory).as_posix()
        content = file.read_bytes()
        if project.lfs_enabled and lfs_rules.is_tracked(attributes, path):
            content = _pointer_text(world, project, content)
        mode = FileMode.BLOB_EXECUTABLE if os.access(file, os.X_OK) else FileMode.BLOB
        editor.put(path, TreeItem(repository.write_blob(content), mode))
    return _commit_first(repository, project, editor.write())


def import_readme(world: World, project: Project) -> str:
    """Commit a README as the first commit of the default branch and return its id."""
    repository = world.repository(project)
    editor = repository.edit(None)
    blob_id = repository.write_blob(f"# {project.name}\n".encode())
    editor.put("README.md", TreeItem(blob_id, FileMode.BLOB))
    return _commit_first(repository, project, editor.write())


def _commit_first(repository: Repository, project: Project, tree_id: str) -> str:
    commit_id = repository.write_commit(tree_id, [], "Initial commit", ADMINISTRATOR, ADMINISTRATOR)
    repository.move_branch(project.default_branch, commit_id, None)
    return commit_id


def _files(directory: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(directory):
        if ".git" in folders:
            folders.remove(".git")
        for name in sorted(names):
            yield Path(folder, name)


def _pointer_text(world: World, project: Project, content: bytes) -> bytes:
    if parse_pointer(content) is not None:
        return content
    return lfs_rules.store_object(world, project, content)
