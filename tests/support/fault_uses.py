"""Every endpoint that the worker asks, each through the adapter that asks it, on one small project.

with Stage(tmp_path) as stage:
    box = stage.box()                     # a connection, a store and an empty cache of its own
    USES["one file"].act(box)
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from support.devserver import DevServer, project, write_world
from support.gitlab_clients import project_ref, quick_session
from support.store_worlds import NOTEBOOK

from gitlab_jobs.backoff import RetryOptions
from gitlab_jobs.git_objects import blob_id
from gitlab_jobs.gitlab_account import check_account
from gitlab_jobs.gitlab_catalog import GitLabCatalog
from gitlab_jobs.gitlab_rest_poll import RestPoll
from gitlab_jobs.gitlab_session import GitLabSession
from gitlab_jobs.gitlab_store import GitLabStore
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.lfs_transfer import LfsTransfer
from gitlab_jobs.object_cache import ObjectCache

PROJECT = "bible/demo"
MANIFEST = "gpu_jobs/manifest.yaml"
FILES = {
    "metadata.json": b"{}",
    MANIFEST: b"version: 1\njobs: []\n",
    NOTEBOOK: b'{"cells": []}\n',
}
SPOKEN = b"the sound of a verse"
BRIEFLY = RetryOptions(attempts=4, base_s=0.001, cap_s=0.01, breaker_failures=1000)


class Stage:
    """A server in this process with one project and one large object."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._resources = ExitStack()
        self._boxes = 0
        config = write_world(directory, projects=[project(PROJECT, files=FILES)])
        self.server = self._resources.enter_context(
            DevServer(directory / "gitlab", config, in_process=True)
        )
        self.project = project_ref(self.server, PROJECT)
        sound = directory / "sound"
        sound.write_bytes(SPOKEN)
        calm = self.box()
        self.spoken = calm.store.send_objects([sound], lambda *_: None)[sound]
        self.head = calm.store.read([NOTEBOOK])[NOTEBOOK].commit_id

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resources.close()

    def box(self, url: str = "", retry: RetryOptions = BRIEFLY, read_s: float = 60.0) -> Box:
        """A worker that was just started, and waits so long for a reply."""
        self._boxes += 1
        folder = self._directory / f"box-{self._boxes}"
        token = self.server.token("worker")
        session = quick_session(url or self.server.url, token, retry=retry, read_s=read_s)
        self._resources.callback(session.close)
        return Box(self, session, LfsTransfer(session, ObjectCache(folder / "cache")), folder)


@dataclass(frozen=True)
class Box:
    """One worker's adapters."""

    stage: Stage
    session: GitLabSession
    transfer: LfsTransfer
    folder: Path

    @property
    def store(self) -> GitLabStore:
        """The project."""
        return GitLabStore(self.session, self.stage.project, self.transfer)

    @property
    def catalog(self) -> GitLabCatalog:
        """All projects."""
        return GitLabCatalog(self.session, self.transfer)

    def fetch(self) -> dict[str, bytes]:
        """The large object, into an empty cache."""
        found = self.store.fetch_objects([self.stage.spoken], lambda *_: None)
        return {oid: path.read_bytes() for oid, path in found.items()}

    def send(self) -> bool:
        """A large object that the server does not have."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "sound"
        file.write_bytes(secrets.token_bytes(100))
        (pointer,) = self.store.send_objects([file], lambda *_: None).values()
        return isinstance(pointer, Pointer)

    def read(self, *paths: str, revision: str | None = None) -> dict[str, bytes]:
        """Files by path."""
        found = self.store.read(paths, revision)
        return {path: version.content for path, version in found.items()}


@dataclass(frozen=True)
class Use:
    """One endpoint, named as the server counts it, and something that asks it once and tells what it got."""

    endpoint: str
    act: Callable[[Box], Any]

    @property
    def rule(self) -> dict[str, str]:
        """The part of a fault rule that says where."""
        method, _, name = self.endpoint.partition(" ")
        return {"method": method, "endpoint": name}


def _views(box: Box) -> dict[str, str | None]:
    return {view.project.path: view.manifest_blob_id for view in box.catalog.poll()}


def _poll(box: Box) -> dict[str, str | None]:
    found = RestPoll(box.session).scan(None, {})
    return {view.project.path: view.manifest_blob_id for view in found.values()}


_FILE = "/projects/:id/repository/files/:path"
USES = {
    "account": Use("GET /user", lambda box: check_account(box.session).username),
    "token": Use(
        "GET /personal_access_tokens/self", lambda box: check_account(box.session).username
    ),
    "scan": Use("POST /api/graphql", _views),
    "projects": Use("GET /projects", _poll),
    "manifest changed?": Use(f"HEAD {_FILE}", _poll),
    "may write?": Use("GET /projects/:id", lambda box: box.store.can_write()),
    "head": Use(
        "GET /projects/:id/repository/branches/:branch", lambda box: box.read(MANIFEST, NOTEBOOK)
    ),
    "one file": Use(f"GET {_FILE}", lambda box: box.read(NOTEBOOK)),
    "files together": Use(
        "POST /api/graphql", lambda box: box.read(MANIFEST, NOTEBOOK, revision=box.stage.head)
    ),
    "blob": Use(
        "GET /projects/:id/repository/blobs/:sha/raw",
        lambda box: box.session.read_blob(
            box.stage.project.id, blob_id(FILES[NOTEBOOK]), max_bytes=1000
        ),
    ),
    "folder": Use(
        "GET /projects/:id/repository/tree", lambda box: box.store.list_folder("files/target")
    ),
    "history": Use(
        "GET /projects/:id/repository/commits", lambda box: box.store.last_commit(NOTEBOOK)
    ),
    "whole project": Use(
        "GET /projects/:id/repository/archive", lambda box: dict(box.store.snapshot().files)
    ),
    "where to fetch": Use("POST lfs batch", Box.fetch),
    "object down": Use("GET lfs object", Box.fetch),
    "where to send": Use("POST lfs batch", Box.send),
    "object up": Use("PUT lfs object", Box.send),
}
COMMITS = "/projects/:id/repository/commits"
