"""The store ports on a plain directory: the embedded default, where no server is needed at all.

The directory is a checkout of a Codex project, with or without `.git`; commits become changes of its
files, which the user's editor syncs like any other edit. Existence is the lock here too: it is checked
under a lock that all workers on this machine share, and a commit is finished even after a crash.

What a plain folder cannot promise: there are no revisions, so `base` is compared with what this
process itself has read or written, and ids are hashes of content; ages come from the file system's
clock; a program that ignores the lock may see a commit half done; workers on other machines, and network
file systems without `flock`, are not excluded. Large objects stay on this machine: in
`.git/lfs/objects` (or `.scriptorium/objects`) and, for takes, beside their pointer where the editor
plays them; making them reach a server is up to the sync.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from gitlab_jobs.errors import AlreadyExists, ConfigError, Conflict, Missing, StoreError
from gitlab_jobs.git_objects import blob_id
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.local_objects import LocalObjects
from gitlab_jobs.local_tree import Effect, LocalTree
from gitlab_jobs.paths import JOBS_FOLDER, MANIFEST_PATH, NOTEBOOK_FOLDER
from gitlab_jobs.store import (
    Account,
    Change,
    Committed,
    Create,
    CreatePointer,
    Delete,
    FileVersion,
    Guard,
    Move,
    ProjectRef,
    ProjectView,
    Snapshot,
    TransferProgress,
    Update,
)

EXIT_NO_INPUT = 66
EXIT_NO_PERMISSION = 77
ROOT_FILES = (".gitattributes", "metadata.json")
REMEMBERED_REVISIONS = 1000
REMEMBERED_BYTES = 16 << 20


class LocalCatalog:
    """A catalogue of one project: the directory that `--project-dir` names."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def account(self) -> Account:
        """Check that the directory is a project that we may change."""
        directory = self._directory
        if not directory.is_dir():
            raise ConfigError(
                f"{directory} is not a directory",
                hint="--project-dir must name the checkout of a Codex project",
                exit_code=EXIT_NO_INPUT,
            )
        if not any((directory / name).exists() for name in ("metadata.json", JOBS_FOLDER, "files")):
            raise ConfigError(
                f"{directory} does not look like a Codex project",
                hint="its root should hold metadata.json and files/target/",
                exit_code=EXIT_NO_INPUT,
            )
        if not os.access(directory, os.W_OK):
            raise ConfigError(
                f"{directory} cannot be written by this user",
                hint="run the worker as the owner of the directory",
                exit_code=EXIT_NO_PERMISSION,
            )
        return Account(str(os.getuid()), getpass.getuser(), frozenset({"api"}), None)

    def poll(self) -> Iterable[ProjectView]:
        """The one project, as it is now."""
        return [self._store.view()]

    def read_many(
        self, wanted: Mapping[ProjectRef, Collection[str]]
    ) -> dict[ProjectRef, dict[str, FileVersion]]:
        """Read files of the one project."""
        return {project: self._store.read(paths) for project, paths in wanted.items()}

    def open(self, project: ProjectRef) -> LocalStore:  # noqa: ARG002 - there is only one
        """The store of the directory."""
        return self._store

    @cached_property
    def _store(self) -> LocalStore:
        return LocalStore(self._directory)


class LocalStore:
    """One directory as a project's default branch; safe to use from several threads."""

    def __init__(self, directory: Path) -> None:
        self._tree = LocalTree(directory)
        self._objects = LocalObjects(self._tree)
        self._revisions = _Revisions()
        root = self._tree.root
        self._project = ProjectRef(f"local:{root}", root.name, _branch(self._tree.git_dir))

    @property
    def project(self) -> ProjectRef:
        """The directory as a project."""
        return self._project

    def view(self) -> ProjectView:
        """The manifest, and a value that changes with anything below `gpu_jobs/`."""
        with self._tree.locked():
            manifest = self._tree.read(MANIFEST_PATH)
            revision = self._jobs_revision()
        return ProjectView(
            self._project, manifest, None if manifest is None else blob_id(manifest), revision
        )

    def read(self, paths: Collection[str], revision: str | None = None) -> dict[str, FileVersion]:
        """Read files as they are now, or as this process saw them at a revision it named."""
        if revision is None:
            with self._tree.locked():
                found = {path: self._tree.read(path) for path in paths}
            revision = self._revisions.note(found)
        else:
            found = {path: self._revisions.recall(revision, path) for path in paths}
        return {
            path: FileVersion(path, content, blob_id(content), revision)
            for path, content in found.items()
            if content is not None
        }

    def last_commit(self, path: str, mark: str = "") -> Committed | None:  # noqa: ARG002
        """Nothing: a folder has no history, and its commits are told apart by their revisions."""
        return None

    def snapshot(self, revision: str | None = None) -> Snapshot:
        """Notebooks, pointers and the root files that say how to read them; only as they are now."""
        root = self._tree.root
        with self._tree.locked():
            notebooks = (
                path.relative_to(root).as_posix()
                for path in sorted((root / NOTEBOOK_FOLDER).rglob("*.codex"))
                if not path.is_symlink()
            )
            found = {name: self._tree.read(name) for name in (*ROOT_FILES, *notebooks)}
            files = {name: content for name, content in found.items() if content is not None}
            files.update((path, pointer.text()) for path, pointer in self._objects.pointers())
        current = self._revisions.note(files)
        if revision not in (None, current):
            raise Missing(f"this folder is not at {revision} any more")
        return Snapshot(current, files)

    def commit(self, changes: Sequence[Change], message: str) -> Committed:  # noqa: ARG002
        """Change the files, all or none; the message has no place in a plain folder."""
        with self._tree.locked():
            plan = _Plan(self._tree, self._revisions)
            for change in changes:
                plan.add(change)
            pointers = [change for change in changes if isinstance(change, CreatePointer)]
            self._check_objects(pointers)
            for change in pointers:
                self._objects.make_playable(change.path, change.pointer)
            effects = plan.effects()
            self._tree.apply(effects)
        parent = self._revisions.note(plan.before)
        after = {effect.path: effect.content for effect in effects}
        return Committed(self._revisions.note(after, parent), parent)

    def fetch_objects(
        self, pointers: Collection[Pointer], progress: TransferProgress
    ) -> dict[str, Path]:
        """Files of this checkout by oid; nothing is copied."""
        found = self._objects.find(set(pointers))
        progress(len(found), len(set(pointers)))
        return found

    def send_objects(
        self, files: Collection[Path], progress: TransferProgress
    ) -> dict[Path, Pointer]:
        """Copy files into the object store of the checkout."""
        kept: dict[Path, Pointer] = {}
        for done, file in enumerate(files, start=1):
            kept[file] = self._objects.keep(file)
            progress(done, len(files))
        return kept

    def list_folder(self, path: str) -> tuple[str, ...]:
        """Paths of the files directly in a folder; none if there is no folder."""
        folder = self._tree.local_path(path)
        with self._tree.locked():
            if not folder.is_dir():
                return ()
            names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
        return tuple(f"{path}/{name}" for name in names)

    def can_write(self) -> bool:
        """Whether this user may change the directory."""
        return os.access(self._tree.root, os.W_OK)

    def age_s(self, path: str) -> float | None:
        """Seconds since the file was written, by the file system's clock."""
        try:
            return max(0.0, time.time() - self._tree.local_path(path).stat().st_mtime)
        except FileNotFoundError:
            return None

    def _check_objects(self, changes: Sequence[CreatePointer]) -> None:
        pointers = {change.pointer for change in changes}
        missing = {pointer.oid for pointer in pointers} - set(self._objects.find(pointers))
        if missing:
            raise StoreError(f"objects must be sent before their pointers: {', '.join(missing)}")

    def _jobs_revision(self) -> str | None:
        folder = self._tree.root / JOBS_FOLDER
        digest = hashlib.sha1(usedforsecurity=False)
        for path in sorted(folder.rglob("*")):
            status = path.lstat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest() if folder.is_dir() else None


class _Plan:
    """Changes applied in order to an overlay; what is left over is what has to be written."""

    def __init__(self, tree: LocalTree, revisions: _Revisions) -> None:
        self._tree = tree
        self._revisions = revisions
        self.before: dict[str, bytes | None] = {}
        self._after: dict[str, bytes | None] = {}

    def add(self, change: Change) -> None:
        match change:
            case Create(path, content):
                self._create(path, content)
            case CreatePointer(path, pointer):
                self._create(path, pointer.text())
            case Update(path, content, base):
                self._require(path)
                if base and not self._revisions.allows(base, path, _blob(self.before[path])):
                    raise Conflict(f"{path} has changed since it was read")
                self._after[path] = content
            case Move(previous_path, path, content):
                kept = self._require(previous_path)
                self._create(path, kept if content is None else content)
                self._after[previous_path] = None
            case Delete(path):
                self._require(path)
                self._after[path] = None
            case Guard(path):
                self._require(path)

    def effects(self) -> list[Effect]:
        return [
            Effect(path, _blob(self.before[path]), content)
            for path, content in self._after.items()
            if content != self.before[path]
        ]

    def _create(self, path: str, content: bytes) -> None:
        if self._current(path) is not None or self._tree.local_path(path).is_dir():
            raise AlreadyExists(f"{path} already exists")
        self._after[path] = content

    def _require(self, path: str) -> bytes:
        content = self._current(path)
        if content is None:
            raise Missing(f"{path} does not exist")
        return content

    def _current(self, path: str) -> bytes | None:
        if path not in self.before:
            self.before[path] = self._after[path] = self._tree.read(path)
        return self._after[path]


class _Revisions:
    """What this process saw, by revision: enough to notice a stale `base`, and a little history."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, Mapping[str, str | None]] = OrderedDict()
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def note(self, files: Mapping[str, bytes | None], parent: str = "") -> str:
        blobs = {path: _blob(content) for path, content in files.items()}
        text = "\n".join(f"{path}\0{blob}" for path, blob in sorted(blobs.items()))
        revision = hashlib.sha1(f"{parent}\n{text}".encode(), usedforsecurity=False).hexdigest()
        with self._lock:
            self._seen[revision] = blobs
            self._seen.move_to_end(revision)
            if len(self._seen) > REMEMBERED_REVISIONS:
                self._seen.popitem(last=False)
            for content in files.values():
                self._keep(content)
        return revision

    def allows(self, base: str, path: str, blob: str | None) -> bool:
        """False only if `base` is known and the path was something else then."""
        with self._lock:
            blobs = self._seen.get(base, {})
        return path not in blobs or blobs[path] == blob

    def recall(self, revision: str, path: str) -> bytes | None:
        """A file as of a revision.

        Raises:
            Missing: it was not seen then, or so much was seen since that it has been forgotten.
        """
        with self._lock:
            blob = self._seen.get(revision, {}).get(path, "")
            content = None if blob is None else self._contents.get(blob)
        if blob is not None and content is None:
            raise Missing(f"{path} as of {revision} is not kept: a folder has no history")
        return content

    def _keep(self, content: bytes | None) -> None:
        if content is None:
            return
        blob = blob_id(content)
        if blob not in self._contents:
            self._kept_bytes += len(content)
        self._contents[blob] = content
        self._contents.move_to_end(blob)
        while self._kept_bytes > REMEMBERED_BYTES:
            self._kept_bytes -= len(self._contents.popitem(last=False)[1])


def _blob(content: bytes | None) -> str | None:
    return None if content is None else blob_id(content)


def _branch(git_dir: Path | None) -> str:
    head = None if git_dir is None else git_dir / "HEAD"
    if head is None or not head.is_file():
        return "main"
    return head.read_text(encoding="utf-8").strip().removeprefix("ref: refs/heads/")
