"""The processes of the demo, started as an operator would start them, and ended with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 30.0


class GitLab:
    """The embedded GitLab on loopback."""

    def __init__(self, root: Path, world: Path, port: int) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "devserver", "--root", str(root), "--config", str(world)]
        self._process = subprocess.Popen(
            [*command, "--port", str(port)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the embedded GitLab did not start; its message is above")
        self.url = str(json.loads(line)["url"])

    def requests_made(self) -> Mapping[str, int]:
        """How often each endpoint was called."""
        counted: Any = requests.get(f"{self.url}/-/requests", timeout=10).json()
        return {str(name): int(tally["requests"]) for name, tally in counted["endpoints"].items()}

    def sound(self, project: str, path: str) -> bytes:
        """A recording as the project's page plays it."""
        reply = requests.get(f"{self.url}/{project}/-/audio/main/{path}", timeout=30)
        reply.raise_for_status()
        return reply.content

    def forget_requests(self) -> None:
        """Start counting anew."""
        requests.delete(f"{self.url}/-/requests", timeout=10).raise_for_status()

    def __enter__(self) -> GitLab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end(self._process)


def run_daemon(
    gitlab_url: str,
    token: str,
    work_dir: Path,
    models: Mapping[str, str],
    tell: Callable[[str], None],
) -> int:
    """Run `worker_entry.py` until no job is left; `tell` gets its log line by line.

    The token and the models go in through the environment, as from a systemd unit.
    """
    environment = os.environ | {
        "GITLAB_TOKEN": token,
        **{f"SCRIPTORIUM_MODELS__{family.upper()}__BASE": base for family, base in models.items()},
    }
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "worker_entry.py"),
            *("--gitlab-url", gitlab_url),
            *("--worker-id", "demo-box"),
            *("--work-dir", str(work_dir)),
            *("--loop-interval", "-1"),
        ],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            tell(line.rstrip("\n"))
        return process.wait()
    finally:
        end(process)


def clone(gitlab_url: str, project: str, token: str, target: Path) -> None:
    """Fetch the project as a translator's machine would, with the real git client."""
    address = f"{gitlab_url.replace('://', f'://oauth2:{token}@', 1)}/{project}.git"
    environment = os.environ | {"GIT_LFS_SKIP_SMUDGE": "1", "GIT_TERMINAL_PROMPT": "0"}
    subprocess.run(["git", "clone", "--quiet", address, str(target)], check=True, env=environment)


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process to stop; kill it if it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
