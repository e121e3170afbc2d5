"""The heartbeat beside somebody else's commits: saves that move the lease, at any moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from pathlib import Path

import pytest
from support.job_world import MANIFEST, job
from support.manifests import manifest_of
from support.store_worlds import LocalWorld

from gitlab_jobs.claims import Claimant, claim
from gitlab_jobs.heartbeat import Heartbeat, Status
from gitlab_jobs.job import CancelReason, Job, JobType, Mode, ModelSpec
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.store import Change, Create, FileVersion, Move, ProjectStore

JOB = Job(job_id="j1", job_type=JobType.ASR, mode=Mode.TRAINING, model=ModelSpec(type="X"))
US = Claimant("us", "boot", 1800, lambda *_: None)
HEARTBEAT_S = 300.0


class Held:
    """A claimed job on a plain folder, and its heartbeat, turned by hand."""

    def __init__(self, folder: Path) -> None:
        self.patience = Patience(10, threading.Event())
        world = LocalWorld(folder, with_git=False)
        world.person_writes(MANIFEST, manifest_of(job("j1", mode="training")))
        self.store: ProjectStore = world.store
        self.lease = claim(self.store, JOB, US, self.patience)
        self.told: list[CancelReason] = []
        self.started_s = time.monotonic()
        self.saves = 0

    def heartbeat(self, store: ProjectStore) -> Heartbeat:
        """A heartbeat that sees the project through this store; its work is always in one stage."""
        return Heartbeat(
            self.lease,
            store,
            watch_s=30,
            heartbeat_s=HEARTBEAT_S,
            status=lambda: Status(None, {}),
            on_stop=self.told.append,
        )

    def save(self) -> None:
        """A commit of ours with a result, which renews the lease."""
        self.saves += 1
        self.lease.renew(self.patience, self._result)

    def _result(self) -> list[Change]:
        return [Create(f"gpu_jobs/job_j1/{self.saves}.txt", b"so far")]


@pytest.fixture
def held(tmp_path: Path) -> Held:
    """A job that is ours."""
    return Held(tmp_path)


def test_a_save_takes_the_place_of_a_renewal(held: Held) -> None:
    """So that the commits of an hour stay as many as they were."""
    heartbeat = held.heartbeat(held.store)
    held.save()
    heartbeat.turn(held.started_s + HEARTBEAT_S - 1)
    heartbeat.turn(held.started_s + 2 * HEARTBEAT_S - 10)
    assert held.lease.response.lease_n == 2
    heartbeat.turn(held.started_s + 2 * HEARTBEAT_S)
    assert held.lease.response.lease_n == 3


class Meanwhile:
    """The project, where something happens right before every look."""

    def __init__(self, store: ProjectStore, act: Held | None = None, thief: Lease | None = None):
        self._store = store
        self._act = act
        self._thief = thief

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def read(self, paths: Collection[str], revision: str | None = None) -> dict[str, FileVersion]:
        if self._act is not None:
            self._act.save()
        if self._thief is not None:
            following = self._thief.path.replace("/1-", "/2-").replace(self._nonce, "f" * 32)
            self._store.commit([Move(self._thief.path, following)], "steal")
        return self._store.read(paths, revision)

    @property
    def _nonce(self) -> str:
        assert self._thief is not None
        return str(self._thief.response.claim)


def test_a_save_during_a_look_is_not_taken_for_a_theft(held: Held) -> None:
    """The name that was looked for is gone, because we have moved on from it."""
    held.heartbeat(Meanwhile(held.store, act=held)).turn(held.started_s)
    assert held.told == []


def test_a_theft_during_a_look_is_one(held: Held) -> None:
    """The name is gone, and the new one is not ours."""
    held.heartbeat(Meanwhile(held.store, thief=held.lease)).turn(held.started_s)
    assert held.told == [CancelReason.LEASE_LOST]
