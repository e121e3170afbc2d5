"""A project behind each adapter of the store port, and a person who edits it from outside."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import requests
from support.devserver import DevServer

from gitlab_jobs.gitlab_session import GitLabSession
from gitlab_jobs.gitlab_store import GitLabStore
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.lfs_transfer import LfsTransfer
from gitlab_jobs.local_store import LocalStore
from gitlab_jobs.object_cache import ObjectCache
from gitlab_jobs.store import ProjectRef, ProjectStore

GITATTRIBUTES = (
    b"*.webm filter=lfs diff=lfs merge=lfs -text\n*.wav filter=lfs diff=lfs merge=lfs -text\n"
)
NOTEBOOK = "files/target/MAT.codex"
TAKE = ".project/attachments/pointers/MAT/audio-1.webm"
OLD_TAKE = ".project/attachments/pointers/MAT/audio-0.webm"
OLD_POINTER = Pointer("ab" * 32, 5)
BASE_FILES: Mapping[str, bytes] = {
    ".gitattributes": GITATTRIBUTES,
    "metadata.json": b'{"format": "scripture burrito"}',
    "gpu_jobs/manifest.yaml": b"version: 1\njobs: []\n",
    OLD_TAKE: OLD_POINTER.text(),
    NOTEBOOK: '{"cells": [], "note": "ተ"}'.encode(),
}


class StoreWorld(Protocol):
    """What the contract tests need of an adapter's surroundings."""

    store: ProjectStore

    def person_writes(self, path: str, content: bytes | None) -> None:
        """Change (or with None, delete) a file the way a user's sync would."""

    def content(self, path: str) -> bytes | None:
        """What is on the branch, read without the adapter."""


class LocalWorld:
    """A plain folder, with or without a (bare-bones) `.git`."""

    def __init__(self, root: Path, *, with_git: bool) -> None:
        for path, content in BASE_FILES.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        if with_git:
            (root / ".git").mkdir()
            (root / ".git/HEAD").write_text("ref: refs/heads/main\n")
        self.root = root
        self.store = LocalStore(root)

    def person_writes(self, path: str, content: bytes | None) -> None:
        local = self.root / path
        if content is None:
            local.unlink()
        else:
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(content)

    def content(self, path: str) -> bytes | None:
        local = self.root / path
        return local.read_bytes() if local.is_file() else None


class GitLabWorld:
    """A project on the embedded GitLab, which a translator edits through the API."""

    def __init__(self, server: DevServer, project_path: str, cache: Path) -> None:
        self._headers = server.headers("translator")
        self._api = f"{server.url}/api/v4/projects/{quote(project_path, safe='')}"
        project = self._get("").json()
        ref = ProjectRef(str(project["id"]), project_path, project["default_branch"])
        self.session = GitLabSession(server.url, server.token("worker"))
        self.transfer = LfsTransfer(self.session, ObjectCache(cache))
        self.store = GitLabStore(self.session, ref, self.transfer)

    def person_writes(self, path: str, content: bytes | None) -> None:
        exists = self.content(path) is not None
        action = {"action": "delete" if content is None else "update" if exists else "create"}
        text = b64encode(content or b"").decode()
        body = {
            "branch": "main",
            "commit_message": "a person",
            "actions": [{**action, "file_path": path, "content": text, "encoding": "base64"}],
        }
        reply = requests.post(
            f"{self._api}/repository/commits", json=body, headers=self._headers, timeout=30
        )
        assert reply.status_code == 201, reply.text

    def content(self, path: str) -> bytes | None:
        reply = self._get(f"/repository/files/{quote(path, safe='')}/raw?ref=main")
        return None if reply.status_code == 404 else reply.content

    def _get(self, path: str) -> requests.Response:
        return requests.get(self._api + path, headers=self._headers, timeout=30)
