"""A project behind each adapter of the store port, and a person who edits it from outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from gitlab_jobs.local_store import LocalStore
from gitlab_jobs.store import ProjectStore

GITATTRIBUTES = (
    b"*.webm filter=lfs diff=lfs merge=lfs -text\n*.wav filter=lfs diff=lfs merge=lfs -text\n"
)
NOTEBOOK = "files/target/MAT.codex"
TAKE = ".project/attachments/pointers/MAT/audio-1.webm"
BASE_FILES: Mapping[str, bytes] = {
    ".gitattributes": GITATTRIBUTES,
    "metadata.json": b'{"format": "scripture burrito"}',
    "gpu_jobs/manifest.yaml": b"version: 1\njobs: []\n",
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
