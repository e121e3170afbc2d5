"""The catalogue port on a GitLab server: which projects may have work, in very few requests.

    hot poll    projects by latest activity, until they are older than anything a push since the last
                poll can have left behind
    full scan   every 10 to 15 minutes all projects, since activity times are coarse

Both read manifest, default branch and the last commit below `gpu_jobs/` of 100 projects a request.
`last_activity_at` moves at most once an hour (GitLab: `Event::RESET_PROJECT_ACTIVITY_INTERVAL`), hence
the margin. Servers without GraphQL are asked through REST, at a request or more per project
(`gitlab_rest_poll`). Knows no manifest's content.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from gitlab_jobs.errors import StoreError
from gitlab_jobs.gitlab_account import check_account
from gitlab_jobs.gitlab_errors import RequestFailed
from gitlab_jobs.gitlab_queries import (
    MANIFEST_BYTES,
    MAX_ALIAS_PATHS,
    PROJECT_GID,
    SCAN,
    Wanted,
    alias_query,
    blobs_of,
    packed,
)
from gitlab_jobs.gitlab_rest_poll import RestPoll
from gitlab_jobs.gitlab_session import GitLabSession, GraphQLUnsupported
from gitlab_jobs.gitlab_store import GitLabStore
from gitlab_jobs.gitlab_transport import TransportOptions
from gitlab_jobs.lfs_transfer import LfsTransfer
from gitlab_jobs.object_cache import ObjectCache
from gitlab_jobs.store import Account, FileVersion, ProjectRef, ProjectStore, ProjectView

logger = logging.getLogger(__name__)

FULL_SCAN_S = (600.0, 900.0)
ACTIVITY_MARGIN = timedelta(hours=1, minutes=15)
"""One hour in which a push may not show, and a quarter for GitLab's background queue."""
MAX_PAGE = 100
MIN_PAGE = 6
LFS_FOLDER = "lfs"
PAGE_GROWTH = 10
"""Projects by which a page grows back with each poll after the server found it too heavy."""


class GitLabCatalog:
    """All projects the account is a member of; polled by one thread, read by several."""

    def __init__(
        self,
        session: GitLabSession,
        transfer: LfsTransfer,
        *,
        page_size: int = MAX_PAGE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session = session
        self.transfer = transfer
        self._monotonic = monotonic
        self._rest: RestPoll | None = None
        self._views: dict[str, ProjectView] = {}
        self._next_full_scan = -1.0
        self._polled_at: datetime | None = None
        self._largest_page = self._page_size = page_size

    @classmethod
    def connect(
        cls,
        url: str,
        token: str,
        cache_dir: Path,
        *,
        stop: threading.Event | None = None,
        options: TransportOptions | None = None,
        reload_token: Callable[[], str] | None = None,
    ) -> GitLabCatalog:
        """Wire a catalogue; nothing is sent before the first call.

        Args:
            url: the server's root.
            token: an access token with scope `api`.
            cache_dir: the box's cache; large objects of all projects go to `lfs/` in it.
            stop: ends all waiting, see `GitLabSession`.
            options: limits of requests.
            reload_token: asked for another token once after a refusal.
        """
        session = GitLabSession(url, token, stop=stop, options=options, reload_token=reload_token)
        return cls(session, LfsTransfer(session, ObjectCache(cache_dir / LFS_FOLDER)))

    def account(self) -> Account:
        """Check server, token and scope; raises `ConfigError` with a remedy."""
        return check_account(self.session)

    def poll(self) -> Iterable[ProjectView]:
        """All projects as last seen; those that may have changed have been looked at again."""
        started_at = self.session.clock.now()
        full = self._polled_at is None or self._monotonic() >= self._next_full_scan
        since = None if full or self._polled_at is None else self._polled_at - ACTIVITY_MARGIN
        seen = self._scan(since)
        if full:
            self._next_full_scan = self._monotonic() + random.uniform(*FULL_SCAN_S)
        merged = dict(seen) if full else {**self._views, **seen}
        self._views = {project_id: view for project_id, view in merged.items() if view is not None}
        self._polled_at = started_at
        self._page_size = min(self._largest_page, self._page_size + PAGE_GROWTH)
        return list(self._views.values())

    def read_many(
        self, wanted: Mapping[ProjectRef, Collection[str]]
    ) -> dict[ProjectRef, dict[str, FileVersion]]:
        """Read small files of many projects; their `commit_id` is empty, as no head is asked for.

        A project that could not be read just now is left out.
        """
        found: dict[ProjectRef, dict[str, FileVersion]] = {project: {} for project in wanted}
        try:
            self._read_by_alias(wanted, found)
        except GraphQLUnsupported:
            return {project: self.open(project).read(paths) for project, paths in wanted.items()}
        return found

    def open(self, project: ProjectRef) -> ProjectStore:
        """The store of one project; asks nothing."""
        return GitLabStore(self.session, project, self.transfer)

    def close(self) -> None:
        """Close all connections."""
        self.session.close()

    def _scan(self, since: datetime | None) -> Mapping[str, ProjectView | None]:
        """What was looked at, by project id; None stands for a project that takes no commits."""
        if self._rest is None or since is None:  # a full scan tries the cheap way again
            try:
                seen = self._scan_pages(since)
            except GraphQLUnsupported as error:
                logger.warning("this server's GraphQL is of no use (%s); polling with REST", error)
                self._rest = RestPoll(self.session)
            else:
                self._rest = None
                return seen
        return self._rest.scan(since, self._views)

    def _scan_pages(self, since: datetime | None) -> dict[str, ProjectView | None]:
        sort = "id_desc" if since is None else "latest_activity_desc"
        seen: dict[str, ProjectView | None] = {}
        after: str | None = None
        while True:
            page = self._page(sort, after)
            nodes = [node for node in page.get("nodes") or () if node]
            for node in nodes:
                project_id = str(node["id"]).removeprefix(PROJECT_GID)
                seen[project_id] = self._view(project_id, node)
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"] or not nodes:
                return seen
            if since is not None and _active_at(nodes[-1]) < since:
                return seen

    def _page(self, sort: str, after: str | None) -> dict[str, Any]:
        """One page; a smaller one if the server finds it too heavy."""
        while True:
            try:
                return self.session.call(lambda: self._ask(sort, after))
            except _TooHeavy as error:
                self._page_size = max(MIN_PAGE, self._page_size // 2)
                logger.info("asking for %d projects at once: %s", self._page_size, error)

    def _ask(self, sort: str, after: str | None) -> dict[str, Any]:
        variables = {"first": self._page_size, "after": after, "sort": sort}
        try:
            projects = self.session.graphql(SCAN, variables)["projects"]
        except RequestFailed as error:
            heavy = error.sent and error.status in {None, 503, 504}
            if heavy and self._page_size > MIN_PAGE:
                raise _TooHeavy(str(error)) from error
            raise
        if not isinstance(projects, dict):
            raise RequestFailed("the list of projects is missing from the reply", sent=True)
        return projects

    def _view(self, project_id: str, node: Mapping[str, Any]) -> ProjectView | None:
        """A project that could take commits; None for an archived, empty or closed one."""
        repository = node.get("repository") or {}
        if node.get("archived") or not repository.get("rootRef"):
            return None
        known = self._views.get(project_id)
        blobs = blobs_of(node)
        if blobs is None:  # this part of the reply failed, which does not mean there is none
            return known
        project = ProjectRef(project_id, str(node["fullPath"]), str(repository["rootRef"]))
        commit = (repository.get("tree") or {}).get("lastCommit") or {}
        if not blobs:
            return ProjectView(project, None, None, commit.get("sha"))
        manifest = blobs[0].content
        if manifest is None and known is not None and known.manifest_blob_id == blobs[0].oid:
            manifest = known.manifest
        if manifest is None:
            manifest = self.session.read_blob(project_id, blobs[0].oid, MANIFEST_BYTES)
        return ProjectView(project, manifest, blobs[0].oid, commit.get("sha"))

    def _read_by_alias(
        self,
        wanted: Mapping[ProjectRef, Collection[str]],
        found: dict[ProjectRef, dict[str, FileVersion]],
    ) -> None:
        refs = {project.path: project for project in wanted}
        items = [
            Wanted(project.path, tuple(sorted(paths)[start : start + MAX_ALIAS_PATHS]))
            for project, paths in wanted.items()
            for start in range(0, len(paths), MAX_ALIAS_PATHS)
        ]
        for portion in packed(items):
            query, variables = alias_query(portion)
            data = self.session.call(partial(self.session.graphql, query, variables))
            for number, item in enumerate(portion):
                project = refs[item.project_path]
                blobs = blobs_of(data.get(f"p{number}"))
                if blobs is None:
                    found.pop(project, None)
                for blob in blobs or () if project in found else ():
                    content = blob.content
                    if content is None:
                        content = self.session.read_blob(project.id, blob.oid, MANIFEST_BYTES)
                    found[project][blob.path] = FileVersion(blob.path, content, blob.oid, "")


class _TooHeavy(StoreError):
    """The server could not answer for so many projects at once."""


def _active_at(node: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(node["lastActivityAt"]))
