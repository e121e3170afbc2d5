"""The ports to a project's repository, as the jobs side needs them.

Knows no GitLab and no file system: `gitlab_store`/`gitlab_catalog` and `local_store` are adapters,
and one contract test suite runs against both. Called by claims, lease, outbox, scanner, worker.

A commit is a list of changes, applied all or none. Existence is the only lock (create needs absence;
update, move, delete and guard need presence), checked in the very tree the branch moves from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from gitlab_jobs.lfs import Pointer


@dataclass(frozen=True, slots=True)
class ProjectRef:
    """One project: `id` survives a rename, `path` is for people and for LFS URLs."""

    id: str
    path: str
    default_branch: str


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file as read: `blob_id` names the content, `commit_id` the head it was read at."""

    path: str
    content: bytes
    blob_id: str
    commit_id: str


@dataclass(frozen=True, slots=True)
class Create:
    """A new file; fails with `AlreadyExists` if the path exists."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class CreatePointer:
    """A new LFS pointer; the adapter keeps the server from wrapping it a second time."""

    path: str
    pointer: Pointer


@dataclass(frozen=True, slots=True)
class Update:
    """New content for an existing file; `base` (a commit id) is an early check, never the lock."""

    path: str
    content: bytes
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A rename; `content` None keeps the bytes."""

    previous_path: str
    path: str
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an existing file."""

    path: str


@dataclass(frozen=True, slots=True)
class Guard:
    """Changes nothing, but fails the whole commit with `Missing` if the path is gone."""

    path: str


Change = Create | CreatePointer | Update | Move | Delete | Guard


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit that is on the branch; `parent_id` is the head it was built on."""

    id: str
    parent_id: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Text files and LFS pointers of one revision, by repository path; never media bytes."""

    revision: str
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class ProjectView:
    """What one poll tells of a project.

    `manifest` is None when there is no manifest; `jobs_revision` is the last commit that touched
    `gpu_jobs/` (None: unknown), and changes whenever anything below it changes.
    """

    project: ProjectRef
    manifest: bytes | None
    manifest_blob_id: str | None
    jobs_revision: str | None


@dataclass(frozen=True, slots=True)
class Account:
    """Who the credential belongs to; `expires_at` None means never or unknown."""

    user_id: str
    username: str
    scopes: frozenset[str]
    expires_at: datetime | None


TransferProgress = Callable[[int, int], None]
"""Called with (objects done, objects in all); may raise to stop the transfer."""


class ProjectStore(Protocol):
    """One project's default branch and its large objects.

    Every method may raise `Unavailable`, `Denied`, `Forbidden` or `Missing` (project gone).
    """

    @property
    def project(self) -> ProjectRef:
        """The project this store reads and writes."""

    def read(self, paths: Collection[str], revision: str | None = None) -> dict[str, FileVersion]:
        """Read files in as few requests as possible; absent ones are left out.

        Args:
            paths: which files.
            revision: a commit id that this store named; None means the branch head.

        Raises:
            Missing: the revision is not (or no longer) known.
        """

    def last_commit(self, path: str, mark: str = "") -> Committed | None:
        """The newest commit that touched a path; None if there is none, or no history is kept.

        With a mark only a commit counts whose message contains it.
        """

    def list_folder(self, path: str) -> tuple[str, ...]:
        """Paths of the files directly in a folder at the branch head; none if there is no folder."""

    def snapshot(self, revision: str | None = None) -> Snapshot:
        """Notebooks (`files/target/**/*.codex`), pointers and root `.gitattributes`, in one stream.

        Args:
            revision: a commit id that an earlier snapshot named; None means the branch head.

        Raises:
            Missing: the revision is not (or no longer) known.
        """

    def commit(self, changes: Sequence[Change], message: str) -> Committed:
        """Apply all changes or none, in one attempt, without retrying.

        Raises:
            AlreadyExists, Missing: an existence precondition did not hold.
            Conflict: the branch moved or `base` is stale; read again and decide.
            OutcomeUnknown: the reply was lost; read back before deciding.
        """

    def fetch_objects(
        self, pointers: Collection[Pointer], progress: TransferProgress
    ) -> dict[str, Path]:
        """Verified local files by oid; objects the server does not have are left out."""

    def send_objects(
        self, files: Collection[Path], progress: TransferProgress
    ) -> dict[Path, Pointer]:
        """Upload what the server lacks, verified; returns the pointer of each file."""

    def can_write(self) -> bool:
        """Whether this account may commit to the default branch."""

    def age_s(self, path: str) -> float | None:
        """Seconds since the last commit that touched the path, by the server's clocks only."""


class ProjectCatalog(Protocol):
    """All projects this worker is a member of."""

    def account(self) -> Account:
        """Check the credential and name its owner; raises `ConfigError` with a remedy."""

    def poll(self) -> Iterable[ProjectView]:
        """Projects that may have work now, in a small number of requests."""

    def read_many(
        self, wanted: Mapping[ProjectRef, Collection[str]]
    ) -> dict[ProjectRef, dict[str, FileVersion]]:
        """Read small files of many projects in few requests; absent ones are left out."""

    def open(self, project: ProjectRef) -> ProjectStore:
        """The store of one project."""
