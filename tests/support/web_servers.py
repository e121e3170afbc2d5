"""A worker, a controller and batches as programs of their own, that tests start, kill and start again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from support.batch_runs import TESTS, Place

from batch.crew import ROOT, Tasks
from batch.stages.extras import Extra
from runner.task import TaskSpec
from web.settings import WorkerSettings, load_settings
from web.worker import run

TOKEN = "a-token-that-only-tests-know"
PATIENCE_S = 60.0
_READY = re.compile(r"ready: (http://\S+)")


def await_true(is_so: Callable[[], Any], what: str = "it") -> Any:
    """Wait until something is true and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)
    return found


@dataclass
class Server:
    """One of the two servers; keeps its port over restarts."""

    argv: list[str]
    environment: dict[str, str]
    log: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        begun_at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.argv, "--port", str(self.port)],
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{TESTS}", **self.environment},
                stdout=log,
                stderr=log,
            )
        found = await_true(lambda: self._ready(begun_at), f"{self.argv[1:3]} ready")
        self.port = int(found[1].rpartition(":")[2])

    def _ready(self, begun_at: int) -> re.Match[str] | None:
        assert self.process is not None
        written = self.log.read_text("utf-8")[begun_at:]
        assert self.process.poll() is None, written
        return _READY.search(written)

    def kill(self) -> None:
        """As the kernel would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """As systemd would; returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_S)


@dataclass
class Farm:
    """A worker whose stages only say, a controller, recordings, and a batch that sends them."""

    home: Path
    place: Place = field(init=False)
    worker: Server = field(init=False)
    controller: Server = field(init=False)
    batches: list[subprocess.Popen[bytes]] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place = Place(self.home)
        self.worker = self._server(
            [str(Path(__file__)), str(self.home / "diary"), "--model", "tiny", "--gpus", "none"],
            "worker",
            {"WORKER_TOKEN": TOKEN},
        )
        self.controller = self._server(
            [str(ROOT / "server_entry.py"), "controller", "--remote-worker-poll-seconds", "0.3"],
            "controller",
            {"REMOTE_WORKER_TOKEN": TOKEN, "REMOTE_WORKER_MODE": "required"},
        )

    def _server(self, argv: list[str], name: str, environment: dict[str, str]) -> Server:
        log = self.home / f"{name}.log"
        data = ["--data-dir", str(self.home / name)]
        return Server([sys.executable, *argv, *data], environment, log)

    def start(self, *flags: str) -> None:
        """Start both; the flags are the controller's."""
        self.worker.start()
        self.start_controller(*flags)

    def start_controller(self, *flags: str) -> None:
        self.controller.environment["REMOTE_WORKER_URL"] = self.worker.url
        self.controller.argv += flags
        self.controller.start()

    def hold(self) -> None:
        """From now on nothing is said."""
        (self.home / "hold").touch()

    def let(self) -> None:
        (self.home / "hold").unlink()

    def began(self) -> list[str]:
        """What the worker has begun to transcribe, over all its lives."""
        return [line.split()[1] for line in self.place.diary() if line.startswith("began")]

    def wishes(self) -> list[dict[str, Any]]:
        """How it was to be heard."""
        told = [line.split(" ", 2)[2] for line in self.place.diary() if line.startswith("began")]
        return [json.loads(line) for line in told]

    def batch(self, *flags: str) -> subprocess.Popen[bytes]:
        """Send the recordings."""
        return self.batch_program(*self.place.argv("--json", "--remote", "-m", "tiny", *flags))

    def batch_program(self, *argv: str) -> subprocess.Popen[bytes]:
        """`batch_entry.py` with this farm's controller."""
        program = [sys.executable, str(ROOT / "batch_entry.py"), *argv]
        process = subprocess.Popen(
            [*program, "--controller", self.controller.url],
            env={**os.environ, "XDG_STATE_HOME": str(self.home / "state")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.batches.append(process)
        return process

    def client(self) -> Client:
        """Somebody in a session of their own."""
        client = Client(self.controller.url)
        self.clients.append(client)
        return client

    def end(self) -> None:
        for client in self.clients:
            client.session.close()
        for server in (self.controller, self.worker):
            server.kill()
        for batch in self.batches:
            batch.kill()
            batch.communicate()


@contextmanager
def farm_in(home: Path) -> Iterator[Farm]:
    """Servers that are gone afterwards."""
    farm = Farm(home)
    try:
        yield farm
    finally:
        farm.end()


class Client:
    """Speaks to the controller as a program of somebody else's would."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        told = self.ask("POST", "/api/session")
        self.session.headers["X-CSRF-Token"] = told["csrfToken"]

    def reply(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=30, **more)

    def ask(self, method: str, path: str, **more: Any) -> Any:
        reply = self.reply(method, path, **more)
        assert reply.ok, reply.text
        return reply.json()

    def upload(self, content: bytes, name: str = "a.mp3") -> str:
        announced = self.ask("POST", "/api/uploads", json=announcement(content, name))
        if not announced["complete"]:
            url = f"/api/uploads/{announced['id']}"
            self.ask("PUT", url, data=content, headers=part(0, len(content), len(content)))
        return announced["id"]

    def create(self, content: bytes, name: str = "a.mp3", **options: Any) -> dict[str, Any]:
        body = {"uploadId": self.upload(content, name), "name": name, "options": options}
        return self.ask("POST", "/api/jobs", json=body)

    def job(self, job_id: str) -> dict[str, Any]:
        return self.ask("GET", f"/api/jobs/{job_id}")

    def await_status(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """The job once it is in one of these states."""

        def found() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in statuses else None

        return await_true(found, f"{job_id} {statuses}")

    def await_code(self, job_id: str, code: str) -> dict[str, Any]:
        """The job once it shows this code."""

        def found() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["lastErrorCode"] == code else None

        return await_true(found, f"{job_id} {code}")


def announcement(content: bytes, name: str = "a.mp3") -> dict[str, Any]:
    """What announces an upload."""
    return {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def part(first: int, end: int, size: int) -> dict[str, str]:
    """The header of a part."""
    return {"Content-Range": f"bytes {first}-{end - 1}/{size}"}


def program(argv: Sequence[str]) -> int:
    """`server_entry.py worker` with stages that only say."""
    diary = Path(argv[0])
    paths = (ROOT, TESTS)
    look = TaskSpec("support.web_tasks:LookInside", {}, paths)
    tell = Extra("diarize", TaskSpec("support.web_tasks:TellApart", {}, paths))
    say = TaskSpec(
        "support.web_tasks:SayWhenLet",
        {"diary": str(diary), "sleep_s": float(os.environ.get("SAY_S", "0"))},
        paths,
    )
    return run(load_settings(WorkerSettings, argv[1:]), Tasks(look, say, extras=(tell,)))


if __name__ == "__main__":
    sys.exit(program(sys.argv[1:]))
