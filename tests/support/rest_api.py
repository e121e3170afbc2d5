"""The REST API and one project on it, as a test drives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import requests
from support.devserver import DevServer

from devserver.objects import Entry
from devserver.trees import TreeItem
from devserver.world import Project

FILES = {
    "README.md": "# Luke\n",
    "gpu_jobs/manifest.yaml": "jobs: []\n",
    "files/target/LUK.codex": '{"cells": []}\n',
    ".gitattributes": "*.wav filter=lfs diff=lfs merge=lfs -text\n",
    "audio/verse.wav": b"RIFF" + bytes(range(200)),
    "ünïcode & space.txt": "é\n",
}


class Api:
    """The REST API as one user (or token) sees it; paths are below `/api/v4`."""

    def __init__(self, server: DevServer, username: str = "", token: str = "") -> None:
        self.server = server
        self.session = requests.Session()
        if username or token:
            self.session.headers["PRIVATE-TOKEN"] = token or server.token(username)

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.server.api(path), timeout=30, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self("POST", path, **options)


class Repo:
    """One project, as its developer `worker` sees it; other users by `as_user`."""

    def __init__(self, server: DevServer, found: Project, api: Api) -> None:
        self.server = server
        self.project = found
        self.api = api
        assert server.world is not None
        self.git = server.world.repository(found)

    def as_user(self, username: str = "", token: str = "") -> Repo:
        return Repo(self.server, self.project, Api(self.server, username, token))

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.api(method, f"projects/{self.project.id}{path}", **options)

    def get(self, path: str = "", **options: Any) -> requests.Response:
        return self("GET", path, **options)

    def file(self, method: str, path: str, tail: str = "", **options: Any) -> requests.Response:
        return self(method, f"/repository/files/{quote(path, safe='')}{tail}", **options)

    def commit(self, *actions: dict[str, Any], **body: Any) -> requests.Response:
        body = {"branch": "main", "commit_message": "A change", "actions": list(actions), **body}
        return self("POST", "/repository/commits", json=body)

    def head(self, branch: str = "main") -> str:
        found = self.git.head(branch)
        assert found is not None
        return found

    def text(self, path: str, ref: str = "main") -> str | None:
        found = self.git.read_blob(ref, path)
        return None if found is None else found[1].decode()

    def entry(self, path: str, ref: str = "main") -> Entry:
        found = self.git.entry(ref, path)
        assert found is not None
        return found

    def add_behind(self, path: str, content: bytes, branch: str = "main") -> str:
        """Move a branch without any of the server's checks, as a migration might."""
        head = self.head(branch)
        editor = self.git.edit(head)
        editor.put(path, TreeItem(self.git.write_blob(content), 0o100644))
        who = ("A", "a@example.com")
        commit_id = self.git.write_commit(editor.write(), [head], "x", who, who)
        self.git.move_branch(branch, commit_id, head)
        return commit_id

    def paths(self, ref: str = "main") -> set[str]:
        entries = self.git.entries(ref, "", recursive=True) or ()
        return {entry.path for entry in entries if entry.type == "blob"}


NewRepo = Callable[..., Repo]
