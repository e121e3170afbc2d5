"""Where chaos happens: one devserver, many projects, and workers that each have their own connection.

with Field(tmp_path, ["bible/p0"]) as field:
    store = field.store("bible/p0")            # a session, a store and a cache of its own
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import pygit2
import requests
from support.devserver import DevServer, Files, project, write_world

from gitlab_jobs.claims import Claimant
from gitlab_jobs.gitlab_session import GitLabSession
from gitlab_jobs.gitlab_store import GitLabStore
from gitlab_jobs.gitlab_transport import TransportOptions
from gitlab_jobs.job import Job, JobType, Mode, ModelSpec
from gitlab_jobs.lease import Patience
from gitlab_jobs.lfs_transfer import LfsTransfer
from gitlab_jobs.object_cache import ObjectCache
from gitlab_jobs.store import ProjectRef

SUBMITTED = datetime(2026, 3, 10, 8, tzinfo=UTC)


class Field:
    """The server and the projects; closes every connection it gave out."""

    def __init__(
        self,
        directory: Path,
        projects: Sequence[str],
        *,
        files: Files | None = None,
        in_process: bool = False,
        limits: Mapping[str, Any] | None = None,
    ) -> None:
        self._directory = directory
        self._resources = ExitStack()
        self._lock = threading.Lock()
        self._caches = 0
        found = [project(path, files=files or {"metadata.json": "{}"}) for path in projects]
        config = write_world(directory, projects=found, limits=limits)
        self.server = DevServer(directory / "gitlab", config, in_process=in_process)
        self._resources.callback(self.server.stop)
        url = self.server.api("projects?per_page=100&simple=true")
        said = requests.get(url, headers=self.server.headers("worker"), timeout=30).json()
        self.projects = {
            item["path_with_namespace"]: ProjectRef(
                str(item["id"]), item["path_with_namespace"], item["default_branch"]
            )
            for item in said
        }

    def __enter__(self) -> Field:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resources.close()

    def session(self) -> GitLabSession:
        """A connection of its own, as another box would have it."""
        options = TransportOptions(read_s=60.0)
        session = GitLabSession(self.server.url, self.server.token("worker"), options=options)
        with self._lock:
            self._resources.callback(session.close)
        return session

    def store(self, path: str, session: GitLabSession | None = None) -> GitLabStore:
        """A project as one worker sees it."""
        session = session or self.session()
        with self._lock:
            self._caches += 1
            cache = ObjectCache(self._directory / f"cache-{self._caches}")
        return GitLabStore(session, self.projects[path], LfsTransfer(session, cache))

    def lose_replies(self, probability: float, seed: int) -> None:
        """Let this share of all commits happen without their maker hearing of it."""
        self.server.set_faults(
            action="lose_reply",
            method="POST",
            endpoint="/projects/:id/repository/commits",
            probability=probability,
            seed=seed,
        )

    def clear_faults(self) -> None:
        """Let everything work again."""
        requests.delete(f"{self.server.url}/-/faults", timeout=10).raise_for_status()

    def repository(self, path: str) -> pygit2.Repository:
        """The project's history, read from the server's disk."""
        found = self._directory / "gitlab/repositories" / f"{self.projects[path].id}.git"
        return pygit2.Repository(str(found))


def job(job_id: str) -> Job:
    """A job that any worker could do."""
    return Job(
        job_id=job_id,
        job_type=JobType.ASR,
        mode=Mode.INFERENCE,
        model=ModelSpec(type="Fast"),
        submitted_at=SUBMITTED,
    )


def claimant(worker_id: str, lease_s: int = 1800) -> Claimant:
    """A worker that keeps no ledger: what is proved here must hold without one."""
    return Claimant(worker_id, f"boot-{worker_id}", lease_s, announce=lambda *_: None)


def patience(total_s: float = 60.0, longest_wait_s: float = 1.0) -> Patience:
    """Enough trying for a crowded branch, with waits short enough for a test."""
    return Patience(total_s, threading.Event(), longest_wait_s)
