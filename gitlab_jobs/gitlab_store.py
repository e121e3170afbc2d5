"""The store port on one GitLab project.

One file is read through the files API, which answers content and head together; several through
GraphQL at a pinned head; text of a whole project as one archive. Commits are sent once: whether to try
again is known only to who holds the lease. Knows nothing of jobs.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitlab_jobs.errors import Forbidden, Missing, OutcomeUnknown, StoreError
from gitlab_jobs.gitlab_actions import actions_for
from gitlab_jobs.gitlab_archive import (
    MAX_FILE_BYTES,
    MAX_STREAM_BYTES,
    ROOT_FILES,
    ArchiveTooLarge,
    read_archive,
)
from gitlab_jobs.gitlab_errors import Gone, RequestFailed
from gitlab_jobs.gitlab_queries import MAX_PATHS_AT_ONCE, PROJECT_GID, READ, Blob, blobs_of
from gitlab_jobs.gitlab_session import GitLabSession, GraphQLUnsupported
from gitlab_jobs.gitlab_transport import blocks
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.lfs_transfer import LfsTransfer
from gitlab_jobs.paths import ATTACHMENTS, NOTEBOOK_FOLDER
from gitlab_jobs.store import (
    Change,
    Committed,
    CreatePointer,
    FileVersion,
    ProjectRef,
    Snapshot,
    TransferProgress,
)

if TYPE_CHECKING:
    from gitlab.v4.objects import Project

logger = logging.getLogger(__name__)

SKIP_CI = "[skip ci]"
GITATTRIBUTES = ".gitattributes"
DEVELOPER = 30
WHOLE_ARCHIVE_BYTES = 256 << 20
ARCHIVE_WINDOW_S = 60.0
"""GitLab allows five archives a minute; before 18.5 its refusal does not say so."""
ARCHIVE_TOTAL_S = 1800.0
HISTORY_PAGE = 100
MAX_HISTORY_PAGES = 10
"""A marked commit is looked for among this many hundreds that touched its path."""


class GitLabStore:
    """Safe to use from several threads; holds no state of the project.

    Args:
        session: the connection to the server.
        project: which project.
        transfer: moves its large objects.
        whole_archive_bytes: a larger repository is read folder by folder, so that what nobody needs is
            not sent.
    """

    def __init__(
        self,
        session: GitLabSession,
        project: ProjectRef,
        transfer: LfsTransfer,
        *,
        whole_archive_bytes: int = WHOLE_ARCHIVE_BYTES,
    ) -> None:
        self._session = session
        self._project = project
        self._transfer = transfer
        self._whole_archive_bytes = whole_archive_bytes

    @property
    def project(self) -> ProjectRef:
        """The project as the catalogue named it."""
        return self._project

    def read(self, paths: Collection[str], revision: str | None = None) -> dict[str, FileVersion]:
        """Read files at the branch head or an earlier commit; absent ones are left out."""
        wanted = list(dict.fromkeys(paths))
        if len(wanted) <= 1:
            return self._read_each(wanted, revision or self._project.default_branch)
        head = revision or self._head()
        if head is None:
            return {}
        found: dict[str, FileVersion] = {}
        for start in range(0, len(wanted), MAX_PATHS_AT_ONCE):
            found |= self._read_together(wanted[start : start + MAX_PATHS_AT_ONCE], head)
        return found

    def snapshot(self, revision: str | None = None) -> Snapshot:
        """Notebooks, pointers and root files of one revision, as an archive that is read in passing."""
        head = revision or self._head()
        if head is None:
            return Snapshot("", {})
        try:
            return Snapshot(head, self._archive(head, None, self._whole_archive_bytes))
        except ArchiveTooLarge:
            logger.info("%s is large; reading it folder by folder", self._project.path)
        roots = self._read_each(ROOT_FILES, head)
        files = {path: version.content for path, version in roots.items()}
        for folder in (NOTEBOOK_FOLDER, ATTACHMENTS):
            files |= self._archive(head, folder.rstrip("/"), MAX_STREAM_BYTES)
        return Snapshot(head, files)

    def commit(self, changes: Sequence[Change], message: str) -> Committed:
        """Apply all changes or none, in one attempt."""
        branch = self._project.default_branch
        has_pointers = any(isinstance(change, CreatePointer) for change in changes)
        attributes = self._read_each([GITATTRIBUTES], branch) if has_pointers else {}
        marks = attributes[GITATTRIBUTES].content if attributes else b""
        body = {
            "branch": branch,
            "commit_message": _quiet(message),
            "actions": actions_for(changes, marks),
        }
        try:
            commit = self._session.once(lambda: self._remote.commits.create(body))
        except RequestFailed as error:
            if error.sent:
                raise OutcomeUnknown(f"a commit may or may not have happened: {error}") from error
            raise
        except (Forbidden, Gone) as error:
            raise Forbidden(f"branch {branch} of {self._project.path}: {error}") from error
        return Committed(str(commit.id), _first_parent(commit.attributes))

    def fetch_objects(
        self, pointers: Collection[Pointer], progress: TransferProgress
    ) -> dict[str, Path]:
        """Verified files of the box's cache by oid."""
        return self._transfer.fetch(self._project, pointers, progress)

    def send_objects(
        self, files: Collection[Path], progress: TransferProgress
    ) -> dict[Path, Pointer]:
        """Upload what the server lacks, confirmed by it."""
        return self._transfer.send(self._project, files, progress)

    def list_folder(self, path: str) -> tuple[str, ...]:
        """Paths of the files directly in a folder at the branch head; none if there is no folder."""
        query = {"ref": self._project.default_branch, "path": path, "per_page": 100}
        try:
            entries = self._session.call(
                lambda: self._remote.repository_tree(query_parameters=query, get_all=True)
            )
        except Missing as error:  # before GitLab 17.7 a missing folder is an empty list
            _raise_if_project_is_gone(error)
            return ()
        return tuple(str(entry["path"]) for entry in entries if entry["type"] == "blob")

    def can_write(self) -> bool:
        """Whether the project takes commits and this account may push to its default branch."""
        project = self._session.call(lambda: self._session.client.projects.get(self._project.id))
        if project.attributes.get("archived"):
            return False
        try:
            branch = self._branch()
        except Missing:  # an empty repository: its first commit makes the branch
            return _access_level(project.attributes) >= DEVELOPER
        return bool(branch["can_push"])

    def last_commit(self, path: str, mark: str = "") -> Committed | None:
        """The newest commit on the branch that touched a path; None if there is none."""
        for page in range(1, 1 + MAX_HISTORY_PAGES):
            touches = self._touches(path, page, HISTORY_PAGE if mark else 1)
            for said in touches:
                if mark in said["message"]:
                    return Committed(str(said["id"]), _first_parent(said))
            if not mark or len(touches) < HISTORY_PAGE:
                break
        return None

    def age_s(self, path: str) -> float | None:
        """Seconds since the last commit that touched the path, by the server's clocks only."""
        touches = self._touches(path, 1, 1)
        if not touches:
            return None
        written = datetime.fromisoformat(touches[0]["committed_date"])
        return max(0.0, (self._session.clock.now() - written).total_seconds())

    @property
    def _remote(self) -> Project:
        """python-gitlab's handle on the project; making it asks nothing."""
        return self._session.client.projects.get(self._project.id, lazy=True)

    def _touches(self, path: str, page: int, per_page: int) -> list[Mapping[str, Any]]:
        """Commits that touched a path, newest first."""
        # As one mapping: `path` as an argument of its own would become the request's path.
        branch = self._project.default_branch
        query = {"ref_name": branch, "path": path, "page": page, "per_page": per_page}
        commits = self._session.call(
            lambda: self._remote.commits.list(query_parameters=query, get_all=False)
        )
        return [commit.attributes for commit in commits]

    def _branch(self) -> Mapping[str, Any]:
        name = self._project.default_branch
        return self._session.call(lambda: self._remote.branches.get(name)).attributes

    def _head(self) -> str | None:
        """The branch's newest commit; None in a repository without commits."""
        try:
            return str(self._branch()["commit"]["id"])
        except Missing as error:
            _raise_if_project_is_gone(error)
            return None

    def _read_each(self, paths: Collection[str], ref: str) -> dict[str, FileVersion]:
        versions = (self._read_one(path, ref) for path in paths)
        return {version.path: version for version in versions if version is not None}

    def _read_one(self, path: str, ref: str) -> FileVersion | None:
        try:
            file = self._session.call(lambda: self._remote.files.get(path, ref))
        except Missing as error:
            _raise_if_project_is_gone(error)
            return None
        said = file.attributes
        content = base64.b64decode(said["content"])
        return FileVersion(path, content, said["blob_id"], said["commit_id"])

    def _read_together(self, paths: Sequence[str], head: str) -> dict[str, FileVersion]:
        try:
            blobs = self._blobs(paths, head)
        except GraphQLUnsupported:
            return self._read_each(paths, head)
        if blobs is None:  # more text than one answer may hold
            middle = len(paths) // 2
            if middle == 0:
                return self._read_each(paths, head)
            left, right = paths[:middle], paths[middle:]
            return self._read_together(left, head) | self._read_together(right, head)
        return {
            blob.path: FileVersion(blob.path, self._exact(blob), blob.oid, head) for blob in blobs
        }

    def _blobs(self, paths: Sequence[str], head: str) -> list[Blob] | None:
        variables = {
            "ids": [PROJECT_GID + self._project.id],
            "ref": head,
            "paths": list(paths),
            "first": len(paths),
        }
        data = self._session.call(lambda: self._session.graphql(READ, variables))
        nodes = (data.get("projects") or {}).get("nodes") or []
        if not nodes:
            raise GraphQLUnsupported(f"GraphQL does not show {self._project.path}")
        return blobs_of(nodes[0])

    def _exact(self, blob: Blob) -> bytes:
        """The bytes of a file that GraphQL could only show as re-encoded text."""
        if blob.content is not None:
            return blob.content
        content = self._session.read_blob(self._project.id, blob.oid, MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise StoreError(f"{blob.path} in {self._project.path} is over {MAX_FILE_BYTES} bytes")
        return content

    def _archive(self, head: str, folder: str | None, max_bytes: int) -> dict[str, bytes]:
        try:
            return self._session.call(lambda: self._stream_archive(head, folder, max_bytes))
        except Missing:
            if folder is None:
                raise
            return {}

    def _stream_archive(self, head: str, folder: str | None, max_bytes: int) -> dict[str, bytes]:
        url = f"{self._session.url}/api/v4/projects/{self._project.id}/repository/archive.tar.gz"
        query = {"sha": head, "include_lfs_blobs": "false", **({"path": folder} if folder else {})}
        try:
            with self._session.transport.open_stream("GET", url, params=query) as reply:
                chunks = blocks(reply, ARCHIVE_TOTAL_S)
                return read_archive(chunks, self._transfer.cache.add, max_bytes)
        except RequestFailed as error:
            if error.status == 429 and error.retry_after_s is None:
                error.retry_after_s = ARCHIVE_WINDOW_S
            raise


def _raise_if_project_is_gone(error: Missing) -> None:
    """A missing file is an answer; a missing (or no longer shared) project is an error."""
    if "Project Not Found" in str(error):
        raise error


def _quiet(message: str) -> str:
    """A message that tells pipelines to stay away; in its first line, for trailers need the last one."""
    subject, end, rest = message.partition("\n")
    return message if SKIP_CI in message else f"{subject} {SKIP_CI}{end}{rest}"


def _first_parent(commit: Mapping[str, Any]) -> str:
    return str((commit.get("parent_ids") or [""])[0])


def _access_level(project: Mapping[str, Any]) -> int:
    permissions = project.get("permissions") or {}
    grants = (permissions.get(kind) or {} for kind in ("project_access", "group_access"))
    return max(int(grant.get("access_level") or 0) for grant in grants)
