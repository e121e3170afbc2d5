"""Large objects of a local checkout: where their bytes may be, and where ours go.

Looked for, in this order: git LFS's own store, the twin of a pointer under `.project/attachments/files/`
(where the editor keeps playable audio), and raw bytes lying under `pointers/` because they were recorded
but not synced yet. Knows no commit; `local_store` does.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from gitlab_jobs.lfs import MAX_POINTER_BYTES, Pointer, parse_pointer
from gitlab_jobs.local_tree import LocalTree
from gitlab_jobs.object_cache import hash_file
from gitlab_jobs.paths import ATTACHMENT_FILES, ATTACHMENT_POINTERS, ATTACHMENTS

MAX_POINTER_DEPTH = 3


class LocalObjects:
    """Finds and keeps objects of one checkout; every file it returns has been hashed."""

    def __init__(self, tree: LocalTree) -> None:
        self._tree = tree
        base = tree.state_dir if tree.git_dir is None else tree.git_dir / "lfs"
        self._store = base / "objects"
        self._hashes: dict[Path, tuple[tuple[int, int], Pointer]] = {}

    def find(self, wanted: Collection[Pointer], depth: int = MAX_POINTER_DEPTH) -> dict[str, Path]:
        """Local files with exactly these bytes, by oid; a pointer to a pointer is followed."""
        found = {pointer.oid: file for pointer in wanted if (file := self._stored(pointer))}
        missing = {pointer for pointer in wanted if pointer.oid not in found}
        for path, pointer in self.pointers() if missing else ():
            if pointer in missing and (beside := self._beside(path, pointer)):
                found[pointer.oid] = beside
        nested = {oid: inner for oid, file in found.items() if (inner := _pointer_in(file))}
        behind = self.find(set(nested.values()), depth - 1) if nested and depth else {}
        for oid, inner in nested.items():
            del found[oid]
            if inner.oid in behind:
                found[oid] = behind[inner.oid]
        return found

    def keep(self, file: Path) -> Pointer:
        """Copy a file into the object store."""
        pointer = hash_file(file)
        if self._stored(pointer) is None:
            _copy(file, self._stored_path(pointer))
        return pointer

    def make_playable(self, path: str, pointer: Pointer) -> None:
        """Put the bytes of a take where the editor plays them without asking a server."""
        if not path.startswith(ATTACHMENT_POINTERS):
            return
        twin = self._tree.local_path(ATTACHMENT_FILES + path.removeprefix(ATTACHMENT_POINTERS))
        source = self.find([pointer]).get(pointer.oid)
        if source is not None and not twin.exists():
            _copy(source, twin)

    def pointers(self) -> Iterator[tuple[str, Pointer]]:
        """Every take by its repository path; raw bytes count as the pointer they will become."""
        root = self._tree.root / ATTACHMENTS
        for local in sorted(root.rglob("*")):
            path = local.relative_to(self._tree.root).as_posix()
            if path.startswith(ATTACHMENT_FILES) or local.is_symlink() or not local.is_file():
                continue
            pointer = _pointer_in(local)
            if pointer is None and path.startswith(ATTACHMENT_POINTERS):
                pointer = self._pointer_of_bytes(self._bytes_behind(path, local))
            if pointer is not None and pointer.size > 0:
                yield path, pointer

    def _bytes_behind(self, path: str, local: Path) -> Path:
        """The file itself, or its playable twin if the editor left an empty placeholder."""
        twin = self._tree.root / (ATTACHMENT_FILES + path.removeprefix(ATTACHMENT_POINTERS))
        return twin if local.stat().st_size == 0 and twin.is_file() else local

    def _beside(self, path: str, wanted: Pointer) -> Path | None:
        """The bytes of a take: its playable twin, or what lies in the pointer's own place."""
        twin = self._tree.root / (ATTACHMENT_FILES + path.removeprefix(ATTACHMENT_POINTERS))
        for candidate in (twin, self._tree.root / path):
            if candidate.is_file() and self._pointer_of_bytes(candidate) == wanted:
                return candidate
        return None

    def _stored(self, pointer: Pointer) -> Path | None:
        path = self._stored_path(pointer)
        return path if path.is_file() and self._pointer_of_bytes(path) == pointer else None

    def _stored_path(self, pointer: Pointer) -> Path:
        return self._store / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid

    def _pointer_of_bytes(self, path: Path) -> Pointer:
        """Hash a file once for each version of it."""
        status = path.stat()
        version = (status.st_mtime_ns, status.st_size)
        known = self._hashes.get(path)
        if known is None or known[0] != version:
            known = self._hashes[path] = (version, hash_file(path))
        return known[1]


def _pointer_in(path: Path) -> Pointer | None:
    if path.stat().st_size > MAX_POINTER_BYTES:
        return None
    return parse_pointer(path.read_bytes())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.copyfile(source, temporary)
    temporary.replace(target)
