r"""A GitLab to test against: the devserver as a real process, or in a thread where that is enough.

    config = write_world(tmp_path)                     # users worker, translator, admin; one project
    with DevServer(tmp_path / "root", config) as server:
        requests.get(f"{server.url}/api/v4/user", headers=server.headers("worker"))

`write_world` writes the world file. Its defaults: users `worker`, `translator` and `admin` (an
administrator), each with one token (`token-worker` and so on, scope api), and the project
`bible/demo` where the translator is maintainer and the worker developer. Give your own projects with
`project(...)`, which also takes the files of the first commit:

    write_world(
        tmp_path,
        projects=[project("bible/luke", files={"gpu_jobs/manifest.yaml": "jobs: []\n"})],
        limits={"throttle_api": {"requests": 10, "period_s": 60}},
    )

`DevServer(..., in_process=True)` runs the same server in a thread: it starts in milliseconds instead
of a fifth of a second and shows its `world`; use a process where restart or kill matters. One server
can serve many tests: `add_project` gives each its own project, while it runs (in a thread only).
`restart()` starts it again on the same root and port. `requests()` and `set_faults()` talk to the
counters and the fault switch over HTTP. Stop every server (use `with`).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from devserver.config import ProjectConfig, WorldConfig, load_config, populate
from devserver.server import serving_in_thread
from devserver.world import Project, World

Files = Mapping[str, str | bytes]

USERS: dict[str, dict[str, Any]] = {"worker": {}, "translator": {}, "admin": {"admin": True}}


def project(
    path: str, files: Files | None = None, members: Mapping[str, int] | None = None, **settings: Any
) -> dict[str, Any]:
    """Describe a project for `write_world`; settings are the keys of a `[[projects]]` table."""
    if members is None:
        members = {"translator": 40, "worker": 30}
    return {"path": path, "files": files, "members": dict(members), **settings}


def user(*tokens: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """Describe a user for `write_world`; without tokens they get `token-USERNAME`, scope api."""
    return {"tokens": [dict(token) for token in tokens], **settings}


def write_world(
    directory: Path,
    *,
    projects: Sequence[Mapping[str, Any]] | None = None,
    users: Mapping[str, Mapping[str, Any]] | None = None,
    limits: Mapping[str, Any] | None = None,
    faults: Mapping[str, Any] | None = None,
) -> Path:
    """Write a world file and the files it imports; return its path. `users` come on top of ours."""
    tables = [
        {"username": username, **_with_token(username, settings)}
        for username, settings in {**USERS, **(users or {})}.items()
    ]
    if projects is None:
        projects = [project("bible/demo")]
    document = {
        "users": tables,
        "projects": [_with_files(directory, settings) for settings in projects],
        "limits": dict(limits or {}),
        "faults": dict(faults or {}),
    }
    target = directory / "world.toml"
    directory.mkdir(parents=True, exist_ok=True)
    lines = (f"{key} = {_toml(value)}\n" for key, value in document.items())
    target.write_text("".join(lines), encoding="utf-8")
    return target


class DevServer:
    """One server on one root; starts at construction."""

    def __init__(
        self, root: Path, config: Path | None = None, *, in_process: bool = False, port: int = 0
    ) -> None:
        self.root = root
        self.config_path = config
        self.config = load_config(config) if config else WorldConfig()
        self.in_process = in_process
        self.process: subprocess.Popen[str] | None = None
        self.world: World | None = None
        self._resources = contextlib.ExitStack()
        self.url = ""
        self.start(port)

    def __enter__(self) -> DevServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, port: int = 0) -> None:
        """Start on the root, with what it already holds."""
        self.url = self._start_thread() if self.in_process else self._start_process(port)

    def stop(self) -> None:
        """End it cleanly (SIGTERM for a process); does nothing if it is not running."""
        if self.process is not None:
            self.process.terminate()
        self._reap()

    def kill(self) -> None:
        """End a process the hard way (SIGKILL)."""
        assert self.process is not None
        self.process.kill()
        self._reap()

    def restart(self) -> None:
        """Stop, then start on the same root and, as a process, on the same port."""
        port = int(self.url.rpartition(":")[2])
        self.stop()
        self.start(port)

    def add_project(self, directory: Path, settings: Mapping[str, Any]) -> Project:
        """Add a project, described as for `write_world`, to a server that runs in a thread."""
        assert self.world is not None
        table = ProjectConfig.model_validate(_with_files(directory, settings))
        populate(self.world, WorldConfig(projects=[table]))
        added = self.world.find_project(table.path)
        assert added is not None
        return added

    def token(self, username: str) -> str:
        """Return the first token of a user."""
        users = {user.username: user for user in self.config.users}
        return users[username].tokens[0].value

    def headers(self, username: str) -> dict[str, str]:
        """Return the request headers that sign a user in to the API."""
        return {"PRIVATE-TOKEN": self.token(username)}

    def api(self, path: str) -> str:
        """Return the URL of an API path, e.g. `projects/1`."""
        return f"{self.url}/api/v4/{path}"

    def clone_url(self, username: str, project_path: str) -> str:
        """Return the URL with which a user clones a project."""
        host = self.url.removeprefix("http://")
        return f"http://oauth2:{self.token(username)}@{host}/{project_path}.git"

    def requests(self) -> Any:
        """Return the request counters."""
        return requests.get(f"{self.url}/-/requests", timeout=10).json()

    def set_faults(self, **faults: Any) -> None:
        """Change the fault switch."""
        requests.post(f"{self.url}/-/faults", json=faults, timeout=10).raise_for_status()

    def fault_rules(self) -> list[dict[str, Any]]:
        """Return the rules that are on, with how often each `fired`."""
        found: list[dict[str, Any]] = requests.get(f"{self.url}/-/faults", timeout=10).json()[
            "rules"
        ]
        return found

    def _start_process(self, port: int) -> str:
        command = [sys.executable, "-m", "devserver", "--root", str(self.root), "--port", str(port)]
        if self.config_path is not None:
            command += ["--config", str(self.config_path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self._reap()
            raise RuntimeError("the devserver ended before it was ready")
        ready: dict[str, Any] = json.loads(line)
        return str(ready["url"])

    def _start_thread(self) -> str:
        self.world = World(self.root, self.config.limits)
        self._resources.callback(self.world.close)
        populate(self.world, self.config)
        return self._resources.enter_context(serving_in_thread(self.world, self.config.faults))

    def _reap(self) -> None:
        self._resources.close()
        if self.process is not None:
            assert self.process.stdout is not None
            self.process.wait(timeout=20)
            self.process.stdout.close()
            self.process = None


def _with_token(username: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    tokens = settings.get("tokens") or [{"value": f"token-{username}", "scopes": ["api"]}]
    return {**settings, "tokens": tokens}


def _with_files(directory: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    table = {key: value for key, value in settings.items() if value is not None}
    files = table.get("files")
    if isinstance(files, Mapping):
        folder = directory / "files" / str(settings["path"])
        folder.mkdir(parents=True)
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        table["files"] = str(folder)
    return table


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool | int | float | str):
        return json.dumps(value, ensure_ascii=False)
    return _toml(str(value))
