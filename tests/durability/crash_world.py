"""A project with work of every kind, a worker that is killed at named points, and a person beside it.

with CrashWorld(tmp_path, "work") as world:
    assert world.run("claim.acted")       # True: the daemon was killed there
    world.edit_verse("a person's words")
    world.run()                           # started again on the same directory, to the end
    assert world.wrongs() == []

Nothing is simulated but the handler: real daemon processes, real SIGKILL, a real history to judge.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import requests
from durability.invariants import Expectation, judge
from support.codex_builders import as_bytes, cell, document, edit, recorded
from support.daemon import Daemon, await_true
from support.devserver import project
from support.job_world import PROJECT, TRACKED, JobWorld, job, training

from devserver.projects import Project
from devserver.world import CommitStage
from gitlab_jobs.crashpoints import VARIABLE
from gitlab_jobs.ledger import FILE_NAME, Ledger
from gitlab_jobs.yaml_text import dump_yaml

NOTEBOOK = "files/target/MAT.codex"
TAKE = ".project/attachments/pointers/MAT/audio-1.webm"
QUICKLY = ("--watch-s", "0.05", "--heartbeat-s", "0.1", "--keep-jobs", "0")
LONG_AGO = "2026-03-01T08:00:00Z"

LARGE = job("busy", "Busy", "training_and_inference", epochs=1, repeat=1001)
BUSY = job("busy", "Busy", "training_and_inference", epochs=1)
SILENT = job("silent")
WORN_OUT = job("worn-out")
GIVEN_UP = job("given-up", canceled=True)
UNREADABLE = job("unreadable", mode="dancing")
OLD = job("old")
WAITING = training("waiting", wait_in="download")
ROBBED = training("robbed", wait_in="train")
SAVING = job("saving", "Steady", "training", epochs=3, wait_after=2)

SCENARIOS: Mapping[str, tuple[Any, ...]] = {
    "work": (BUSY,),
    "large": (LARGE,),
    "answers": (GIVEN_UP, UNREADABLE, SILENT, WORN_OUT),
    "everything": (BUSY, GIVEN_UP, UNREADABLE, SILENT, WORN_OUT),
    "rolled back": (OLD,),
    "stopping": (WAITING,),
    "robbed": (ROBBED,),
    "saving": (SAVING,),
    "overlap": (BUSY,),
    "overlap in parts": (LARGE,),
}
OVERLAPS = ("overlap", "overlap in parts")
"""Where a person syncs inside a commit of ours, between GitLab's check of it and its making."""
_SCENARIO_OF = {
    "publish.part": "large",
    "recovery.mended": "overlap",
    "mend": "overlap",
    "acknowledge": "answers",
    "refuse": "answers",
    "takeover": "answers",
    "giveup": "answers",
    "reassert": "rolled back",
    "release": "stopping",
    "loss": "robbed",
    "save": "saving",
    "resume": "saving",
}
_FIRST = {
    "recovery.looked": "child.started",
    "recovery.taken_up": "child.started",
    "recovery.renewed": "child.started",
    "recovery.settled": "publish.acted",
    "recovery.mended": "publish.acted",
    "recovery.forgotten": "claim.intended",
    "resume.fetched": "save.noted",
    "resume.acted": "save.noted",
}
"""Points that only a restarted worker meets, and where to kill it the first time."""


def scenario_of(point: str) -> str:
    """Where a crash point is met."""
    effect = point.partition(".")[0]
    return _SCENARIO_OF.get(point) or _SCENARIO_OF.get(effect, "work")


def way_to(point: str) -> tuple[str, ...]:
    """The points to be killed at, one after the other, so that the last one is met."""
    return (_FIRST[point], point) if point in _FIRST else (point,)


class CrashWorld:
    """One scenario; `run` may be called as often as it takes."""

    def __init__(self, directory: Path, scenario: str) -> None:
        self._gate = directory / "gate"
        self._scenario = scenario
        self._entries = [self._gated(entry) for entry in SCENARIOS[scenario]]
        self._said: dict[str, str] = {}
        self._rollbacks = 0
        self._is_robbed = False
        self._is_typing = False
        self.has_overlapped = False
        self.kills = 0
        directory.mkdir(parents=True, exist_ok=True)
        self.world = JobWorld(directory, project(PROJECT, files=_files()))
        self.world.write(TAKE, b"the sound of verse one")
        self.world.submit(*self._entries)
        if scenario == "rolled back":
            self._end_and_roll_back()
        if scenario in OVERLAPS:
            assert self.world.server.world is not None
            self.world.server.world.on_commit = self._type_inside

    def __enter__(self) -> CrashWorld:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.world.__exit__(kind, error, trace)

    def run(self, point: str | None = None) -> bool:
        """Let a daemon work until it is killed at a point (True) or has nothing left to do (False)."""
        environment = {} if point is None else {VARIABLE: point}
        if point is not None and point.startswith("resume."):
            self._lose_disk()
        with self.world.run_worker(*self._quickly, environment=environment) as daemon:
            if point is not None:
                self._disturb(daemon)
            else:
                self._gate.touch()
            return self._await_end(daemon)

    def run_for(self, seconds: float) -> bool:
        """Let a daemon work and kill it at a moment; False if it had nothing left to do by then."""
        with self.world.run_worker(*self._quickly) as daemon:
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(seconds)
            if daemon.process.poll() is None:
                daemon.process.kill()
            return self._await_end(daemon)

    def _await_end(self, daemon: Daemon) -> bool:
        code = daemon.wait()
        assert code in (0, -signal.SIGKILL), daemon.log
        self.kills += code != 0
        return code != 0

    def edit_verse(self, text: str, which: int = 2) -> None:
        """A person types into a verse (counted from 0) and syncs."""
        content = self.world.read(NOTEBOOK)
        assert content is not None
        notebook = json.loads(content)
        typed = notebook["cells"][which]
        newest = max((entry["timestamp"] for entry in typed["metadata"]["edits"]), default=1000)
        typed["value"] = text
        typed["metadata"]["edits"].append(edit(text, newest + 1_000_000))
        self._is_typing = True
        self.world.write(NOTEBOOK, as_bytes(notebook))
        self._is_typing = False
        self._said[typed["metadata"]["id"]] = text

    def wrongs(self) -> list[str]:
        """Everything that is not as it must be after the last run; empty if all is well."""
        found = judge(self.world.server, self._expectation())
        for entry in Ledger(self.work_dir / FILE_NAME).unsettled():
            found.append(f"the ledger still asks about {entry.job.job_id}: {entry.standing}")
        return found

    @property
    def _quickly(self) -> tuple[str, ...]:
        often = ("--checkpoint-upload-s", "0.05") if self._scenario == "saving" else ()
        return (*QUICKLY, *often)

    @property
    def work_dir(self) -> Path:
        """The daemon's directory, kept over all its lives."""
        return self.world.directory / "worker"

    def _expectation(self) -> Expectation:
        ends = {"given-up": "canceled", "unreadable": "failed", "worn-out": "failed"}
        names = [entry["job_id"] for entry in self._entries]
        return Expectation(
            states={name: ends.get(name, "completed") for name in names},
            notebook=NOTEBOOK,
            said=self._said,
            rollbacks=self._rollbacks,
            robbed=frozenset({"robbed"}) if self._is_robbed else frozenset(),
            publishes_cells="busy" in names,
            parts=3 if LARGE in self._entries else 1,
        )

    def _gated(self, entry: dict[str, Any]) -> dict[str, Any]:
        waits = entry.keys() & {"wait_in", "wait_after"}
        return {**entry, "gate": str(self._gate)} if waits else entry

    def _disturb(self, daemon: Daemon) -> None:
        """What the scenario needs to happen while the daemon works."""
        act: Mapping[str, Callable[[Daemon], None]] = {
            "stopping": self._stop,
            "robbed": self._rob,
            "saving": self._let_go_on,
        }
        if self._scenario in act and not self._gate.exists():
            act[self._scenario](daemon)

    def _stop(self, daemon: Daemon) -> None:
        if _is_reached(daemon, "job waiting: download"):
            daemon.send(signal.SIGTERM)

    def _let_go_on(self, daemon: Daemon) -> None:
        """The training waits until its state was saved, which is where most kills hit it."""
        if _is_reached(daemon, "saved step-"):
            self._gate.touch()

    def _lose_disk(self) -> None:
        """The ledger is all that is left; the training's state is on the server, if anywhere."""
        for folder in self.work_dir.glob("job_*"):
            shutil.rmtree(folder)

    def _rob(self, daemon: Daemon) -> None:
        """Another worker takes the job over and finishes it."""
        if self._is_robbed or not _is_reached(daemon, "job robbed: train"):
            return
        while not self._is_robbed and daemon.process.poll() is None:
            # A renewal in between makes the name of the lease wrong; a thief looks again.
            self._is_robbed = self._take_lease(self.world.response("robbed"))

    def _type_inside(self, _project: Project, stage: CommitStage) -> None:
        """A person fills a verse and syncs while a commit to notebooks is being made; once."""
        if stage is not CommitStage.VALIDATED or self.has_overlapped or self._is_typing:
            return
        if self._is_publishing():
            self.has_overlapped = True
            self.edit_verse("typed inside a commit", 3)

    def _is_publishing(self) -> bool:
        """Whether the worker has put down what it is about to write into notebooks."""
        with closing(sqlite3.connect(self.work_dir / FILE_NAME)) as ledger:
            (noted,) = ledger.execute("SELECT count(*) FROM publications").fetchone()
        return bool(noted)

    def _take_lease(self, response: dict[str, Any]) -> bool:
        """One commit that needs the lease as it was seen, as every worker makes it."""
        taken = {**response, "worker_id": "thief", "claim": "f" * 32, "state": "completed"}
        server, path = self.world.server, "gpu_jobs/job_robbed/response.yaml"
        actions = [
            {"action": "delete", "file_path": response["lease"]},
            {"action": "update", "file_path": path, "content": dump_yaml(taken).decode()},
        ]
        reply = requests.post(
            server.api(f"projects/{quote(PROJECT, safe='')}/repository/commits"),
            json={"branch": "main", "commit_message": "take over", "actions": actions},
            headers=server.headers("translator"),
            timeout=30,
        )
        return reply.status_code == requests.codes.created

    def _end_and_roll_back(self) -> None:
        self.run()
        path = "gpu_jobs/job_old/response.yaml"
        claimed = {**self.world.response("old"), "state": "running", "lease_n": 1}
        self.world.write(path, dump_yaml(claimed))
        self._rollbacks += 1


def _files() -> dict[str, bytes | str]:
    verses = (
        recorded("1"),
        cell("2", "In the beginning"),
        cell("3", "Somebody's verse"),
        cell("4"),
    )
    return {
        "metadata.json": "{}",
        ".gitattributes": TRACKED,
        NOTEBOOK: as_bytes(document(*verses)),
        **_claimed("silent", retry_count=1),
        **_claimed("worn-out", retry_count=3),
    }


def _claimed(job_id: str, retry_count: int) -> dict[str, bytes]:
    """A job whose worker is gone for good and left it free to take."""
    lease = f"gpu_jobs/job_{job_id}/lease/3-{'a' * 32}.yaml"
    response = {
        "worker_id": "gone",
        "state": "running",
        "timestamp": LONG_AGO,
        "retry_count": retry_count,
        "claim": "a" * 32,
        "lease": lease,
        "lease_n": 3,
        "lease_seconds": 0,
    }
    return {f"gpu_jobs/job_{job_id}/response.yaml": dump_yaml(response), lease: b"n: 3\n"}


def _is_reached(daemon: Daemon, text: str) -> bool:
    """Wait for a line in the log; False if the daemon was killed before it."""
    await_true(lambda: text in daemon.log or daemon.process.poll() is not None, text)
    return daemon.process.poll() is None
