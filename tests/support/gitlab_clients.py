"""Sessions with little patience, and projects on a running devserver."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import requests
from support.devserver import DevServer

from gitlab_jobs.backoff import RetryOptions
from gitlab_jobs.gitlab_session import GitLabSession
from gitlab_jobs.gitlab_store import GitLabStore
from gitlab_jobs.gitlab_transport import TransportOptions
from gitlab_jobs.lfs_transfer import LfsTransfer
from gitlab_jobs.object_cache import ObjectCache
from gitlab_jobs.store import ProjectRef

QUICK = RetryOptions(attempts=4, base_s=0.01, cap_s=0.05, breaker_failures=1000)


def quick_session(
    url: str,
    token: str,
    *,
    stop: threading.Event | None = None,
    retry: RetryOptions = QUICK,
    storage_hosts: frozenset[str] = frozenset(),
    reload_token: Callable[[], str] | None = None,
    read_s: float = 5.0,
) -> GitLabSession:
    """A session that tries again at once and gives up soon."""
    options = TransportOptions(
        retry=retry, read_s=read_s, transfer_read_s=read_s, storage_hosts=storage_hosts
    )
    return GitLabSession(url, token, stop=stop, options=options, reload_token=reload_token)


def project_ref(server: DevServer, path: str, username: str = "worker") -> ProjectRef:
    """A project as the catalogue would name it."""
    url = server.api(f"projects/{quote(path, safe='')}")
    found = requests.get(url, headers=server.headers(username), timeout=10).json()
    return ProjectRef(str(found["id"]), path, found["default_branch"])


def store_of(
    server: DevServer, path: str, cache: Path, session: GitLabSession | None = None
) -> GitLabStore:
    """The worker's store of a project."""
    session = session or quick_session(server.url, server.token("worker"))
    return GitLabStore(session, project_ref(server, path), LfsTransfer(session, ObjectCache(cache)))


def asked(server: DevServer, name: str) -> int:
    """How often an endpoint was asked, by its counted name such as `POST /api/graphql`."""
    endpoints = server.requests()["endpoints"]
    return int(endpoints.get(name, {"requests": 0})["requests"])


def clear(server: DevServer) -> None:
    """Switch all faults off and set all counters to zero."""
    for name in ("faults", "requests"):
        requests.delete(f"{server.url}/-/{name}", timeout=10).raise_for_status()
