"""One GitLab, its projects and the people and workers around them, for tests of the whole daemon.

world = JobWorld(tmp_path)                  # one project, bible/demo, a real git clone away
world.submit(job("a1"), job("a2"))
assert world.run_worker().wait() == 0
assert world.response("a1")["state"] == "completed"
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import requests
import yaml
from support.daemon import Daemon
from support.devserver import DevServer, project, write_world
from support.git_client import Git
from support.manifests import manifest_of

MANIFEST = "gpu_jobs/manifest.yaml"
PROJECT = "bible/demo"
TRACKED = "*.webm filter=lfs diff=lfs merge=lfs -text\n"


def job(job_id: Any, model: Any = "Instant", mode: str = "inference", **fields: Any) -> Any:
    """A recognition job for one of the handlers of `tests/support/handlers`."""
    return {
        "job_id": job_id,
        "job_type": "asr",
        "mode": mode,
        "submitted_at": "2026-03-10T08:00:00.000Z",
        "model": {"type": model} if isinstance(model, str) else model,
        "canceled": False,
        **fields,
    }


def training(job_id: str, epochs: int = 3, **fields: Any) -> Any:
    """A training job that can be made to wait, see the handler `asr/patient/training`."""
    return job(job_id, "Patient", "training", epochs=epochs, **fields)


@dataclass(frozen=True)
class Commit:
    """One commit: who made it, what for, and which paths it added (A), changed (M), deleted (D)."""

    author: str
    subject: str
    changes: tuple[tuple[str, str], ...]

    @property
    def paths(self) -> set[str]:
        """All paths it touched."""
        return {path for _, path in self.changes}


class JobWorld:
    """A devserver, in a thread unless it has to die, with projects to work in; use with `with`."""

    def __init__(
        self, directory: Path, *projects: Mapping[str, Any], in_process: bool = True, **world: Any
    ) -> None:
        self.directory = directory
        found = projects or (project(PROJECT, files={"metadata.json": "{}"}),)
        config = write_world(directory, projects=found, **world)
        self.server = DevServer(directory / "gitlab", config, in_process=in_process)
        self._clones = 0

    def __enter__(self) -> JobWorld:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.stop()

    def run_worker(
        self, *arguments: str, token: str | None = "token-worker", name: str = "worker", **more: Any
    ) -> Daemon:
        """Start a daemon on this server, one-shot unless told otherwise."""
        if "--loop-interval" not in arguments:
            arguments += ("--loop-interval", "-1")
        address = ("--gitlab-url", self.server.url, "--worker-id", name)
        return Daemon(self.directory, *address, *arguments, token=token, name=name, **more)

    def run_to_end(self, *arguments: str, **more: Any) -> str:
        """Let a one-shot daemon do all there is; returns its log."""
        with self.run_worker(*arguments, **more) as daemon:
            assert daemon.wait() == 0, daemon.log
            return daemon.log

    def submit(self, *entries: Any, to: str = PROJECT) -> None:
        """Make these the jobs of a project's manifest, as a translator's sync would."""
        self.write(MANIFEST, manifest_of(*entries), to=to)

    def write(self, path: str, content: bytes | str | None, *, to: str = PROJECT) -> None:
        """Change, add or (with None) delete a file as the translator."""
        is_there = self.read(path, of=to) is not None
        action = "delete" if content is None else "update" if is_there else "create"
        raw = content.encode() if isinstance(content, str) else content or b""
        change = {"action": action, "file_path": path, "encoding": "base64"}
        body = {
            "branch": "main",
            "commit_message": f"{action} {path}",
            "actions": [{**change, "content": base64.b64encode(raw).decode()}],
        }
        url = f"{self._api(to)}/repository/commits"
        reply = requests.post(url, json=body, headers=self.server.headers("translator"), timeout=30)
        assert reply.status_code == 201, reply.text

    def push(self, files: Mapping[str, str], delete: Sequence[str] = ()) -> None:
        """Change the project the way a person does: clone, edit, commit, push.

        A push that lost against another one is made again from a fresh clone, as the editor does.
        """
        git = Git(self.directory)
        while True:
            folder = self.clone()
            for path in delete:
                shutil.rmtree(folder / path)
            git.commit(folder.name, dict(files))
            if git("push", "--quiet", cwd=folder.name, check=False).returncode == 0:
                return

    def read(self, path: str, *, of: str = PROJECT) -> bytes | None:
        """A file at the branch head, or None."""
        url = f"{self._api(of)}/repository/files/{quote(path, safe='')}/raw?ref=main"
        reply = requests.get(url, headers=self.server.headers("admin"), timeout=30)
        return None if reply.status_code == 404 else reply.content

    def response(self, job_id: str, *, of: str = PROJECT) -> Any:
        """What `response.yaml` says, read by a plain YAML parser; {} if there is none."""
        content = self.read(f"gpu_jobs/job_{job_id}/response.yaml", of=of)
        return {} if content is None else yaml.safe_load(content)

    def state(self, job_id: str, *, of: str = PROJECT) -> str | None:
        """The state the user would see: None while pending."""
        found: str | None = self.response(job_id, of=of).get("state")
        return found

    def clone(self, of: str = PROJECT) -> Path:
        """A fresh clone by a real git client, as the translator."""
        self._clones += 1
        git = Git(self.directory)
        return git.clone(self.server.clone_url("translator", of), f"clone-{self._clones}")

    def history(self, of: str = PROJECT) -> list[Commit]:
        """All commits, oldest first, from a real clone."""
        folder = self.clone(of).name
        listed = Git(self.directory)(
            "log",
            "--reverse",
            "--no-renames",
            "--name-status",
            "--format=%x00%an%x01%s",
            cwd=folder,
        ).stdout
        return [_parse_commit(text) for text in listed.split("\0")[1:]]

    def by_worker(self, of: str = PROJECT) -> list[Commit]:
        """The commits of the worker's account, oldest first."""
        return [commit for commit in self.history(of) if commit.author.lower() == "worker"]

    def versions(self, path: str, *, of: str = PROJECT) -> list[Any]:
        """Every content that a YAML file ever had, oldest first, read by a plain parser."""
        folder, git = self.clone(of).name, Git(self.directory)
        listed = git("log", "--reverse", "--diff-filter=AM", "--format=%H", "--", path, cwd=folder)
        return [
            yaml.safe_load(git("show", f"{commit}:{path}", cwd=folder).stdout)
            for commit in listed.stdout.split()
        ]

    def files(self, of: str = PROJECT) -> dict[str, bytes]:
        """All files of a fresh clone, by path."""
        root = self.clone(of)
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and ".git" not in path.relative_to(root).parts
        }

    def clear_faults(self) -> None:
        """Let the server work again."""
        requests.delete(f"{self.server.url}/-/faults", timeout=30).raise_for_status()

    def requests_by(self, method: str) -> int:
        """How many requests of one method the server has counted."""
        endpoints = self.server.requests()["endpoints"]
        return sum(
            tally["requests"] for name, tally in endpoints.items() if name.startswith(f"{method} ")
        )

    def _api(self, path: str) -> str:
        return self.server.api(f"projects/{quote(path, safe='')}")


def _parse_commit(text: str) -> Commit:
    head, *lines = text.strip().splitlines()
    author, _, subject = head.partition("\x01")
    pairs = (line.split("\t", 1) for line in lines if line)
    return Commit(author, subject, tuple((status, path) for status, path in pairs))
