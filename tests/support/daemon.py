"""The real daemon as a process of its own: `worker_entry.py`, started as an operator would.

with Daemon(tmp_path, "--gitlab-url", url, "--loop-interval", "-1", token="token-worker") as daemon:
    assert daemon.wait() == 0, daemon.log

Its environment is bare but for PATH and what a test names, its log goes to a file, and the handlers are
those of `tests/support/handlers` unless the test says otherwise. It is killed when the block ends.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import psutil

ROOT = Path(__file__).resolve().parents[2]
ENTRY = ROOT / "worker_entry.py"
HANDLERS = Path(__file__).parent / "handlers"
PATIENCE_S = 60.0


class Daemon:
    """One process; starts at construction."""

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        token: str | None = None,
        environment: Mapping[str, str] | None = None,
        name: str = "worker",
        entry: Path = ENTRY,
    ) -> None:
        self.work_dir = directory / name
        self._log_path = directory / f"{name}.log"
        self._out_path = directory / f"{name}.out"
        command = [sys.executable, str(entry), *arguments]
        if "--work-dir" not in arguments:
            command += ["--work-dir", str(self.work_dir)]
        if "--handlers-dir" not in arguments:
            command += ["--handlers-dir", str(HANDLERS)]
        variables = {"PATH": os.environ["PATH"], "HOME": str(directory), **(environment or {})}
        if token is not None:
            variables["GITLAB_TOKEN"] = token
        with self._log_path.open("wb") as log, self._out_path.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=directory, env=variables, stdout=out, stderr=log
            )

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill()

    @property
    def log(self) -> str:
        """Everything it has said on standard error so far."""
        return self._log_path.read_text(encoding="utf-8")

    @property
    def output(self) -> str:
        """Everything it has printed so far."""
        return self._out_path.read_text(encoding="utf-8")

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for the end and return the exit code."""
        return self.process.wait(timeout_s)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the daemon alone."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it the hard way."""
        self.process.kill()
        self.process.wait()

    def await_log(self, text: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until it has logged this text."""
        await_true(lambda: text in self.log, f"{text!r} in the log", timeout_s)


class NotifySocket:
    """What systemd would hear: the other end of NOTIFY_SOCKET."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self._heard: list[str] = []

    def __enter__(self) -> NotifySocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    @property
    def lines(self) -> list[str]:
        """All assignments received so far, in order."""
        while True:
            try:
                message = self._socket.recv(65536)
            except BlockingIOError:
                return self._heard
            self._heard += message.decode().splitlines()

    def await_line(self, start: str) -> None:
        """Wait for an assignment that begins like this."""
        await_true(lambda: any(line.startswith(start) for line in self.lines), start)


def await_true(condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.02)


def has_child_processes(pid: int) -> bool:
    """Whether a process has children of its own."""
    return bool(psutil.Process(pid).children())
