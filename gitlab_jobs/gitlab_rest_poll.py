"""Polling through REST, for servers whose GraphQL is switched off, too old, or closed to the account.

One page per 100 projects, one HEAD per project that may have changed, and two more requests where
there is a manifest: too dear for thousands of projects, which is why `gitlab_catalog` tries GraphQL first.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gitlab_jobs.errors import Forbidden, Missing
from gitlab_jobs.gitlab_errors import RequestFailed
from gitlab_jobs.gitlab_session import GitLabSession
from gitlab_jobs.paths import JOBS_FOLDER, MANIFEST_PATH
from gitlab_jobs.store import ProjectRef, ProjectView

DEVELOPER = 30


class RestPoll:
    """Lists projects and looks into each; keeps nothing itself."""

    def __init__(self, session: GitLabSession) -> None:
        self._session = session

    def scan(
        self, since: datetime | None, known: Mapping[str, ProjectView]
    ) -> dict[str, ProjectView]:
        """Views of all projects, or of those active since a moment; reuses what has not changed."""
        found: dict[str, ProjectView] = {}
        for listed in self._session.call(lambda: self._list(since)):
            if not listed.get("default_branch"):
                continue
            project_id = str(listed["id"])
            project = ProjectRef(
                project_id, listed["path_with_namespace"], listed["default_branch"]
            )
            found[project_id] = self._look(project, known.get(project_id))
        return found

    def _list(self, since: datetime | None) -> list[Mapping[str, Any]]:
        query: dict[str, Any] = {
            "membership": "true",
            "min_access_level": DEVELOPER,
            "simple": "true",
            "archived": "false",
            "per_page": 100,
        }
        if since is None:
            query |= {"pagination": "keyset", "order_by": "id", "sort": "asc"}
        else:
            query |= {"last_activity_after": since.astimezone(UTC).isoformat()}
        projects = self._session.client.projects.list(query_parameters=query, get_all=True)
        return [project.attributes for project in projects]

    def _look(self, project: ProjectRef, known: ProjectView | None) -> ProjectView:
        files = self._session.client.projects.get(project.id, lazy=True).files
        try:
            blob_id = self._session.call(lambda: _blob_id(files.head(MANIFEST_PATH, "HEAD")))
        except (Missing, Forbidden):
            return ProjectView(project, None, None, None)
        if known is not None and known.manifest_blob_id == blob_id:
            manifest = known.manifest
        else:
            file = self._session.call(lambda: files.get(MANIFEST_PATH, "HEAD"))
            manifest, blob_id = base64.b64decode(file.content), str(file.blob_id)
        return ProjectView(project, manifest, blob_id, self._jobs_revision(project))

    def _jobs_revision(self, project: ProjectRef) -> str | None:
        remote = self._session.client.projects.get(project.id, lazy=True)
        query = {"path": JOBS_FOLDER, "per_page": 1}
        commits = self._session.call(
            lambda: remote.commits.list(query_parameters=query, get_all=False)
        )
        return next((str(commit.id) for commit in commits), None)


def _blob_id(headers: Mapping[str, Any]) -> str:
    """What a look at a file's head tells; a reply without it came from something else than GitLab."""
    try:
        return str(headers["X-Gitlab-Blob-Id"])
    except KeyError as error:
        raise RequestFailed("a reply without the file's headers", sent=True) from error
