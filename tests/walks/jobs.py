"""The job machine at random: workers claim, renew, end, give back and steal jobs of one project.

Whatever they try, in whatever order, the state in the project only goes where the table below lets it, and what
is refused changes nothing. The table is written down here from the design, not imported.
"""

from __future__ import annotations

import itertools
import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gitlab_jobs import claims, paths, takeover
from gitlab_jobs.claims import Claimant
from gitlab_jobs.errors import AlreadyExists, LeaseLost
from gitlab_jobs.job import Job, JobState, JobType, Mode, ModelSpec
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.local_store import LocalStore
from gitlab_jobs.response import parse_response

MAY_FOLLOW = {
    "pending": "running failed canceled",
    "running": "running completed failed canceled pending",
    "completed": "",
    "failed": "",
    "canceled": "",
}
MAX_ATTEMPTS = 3
STEPS_PER_PROJECT = 500
REFUSED = (AlreadyExists, LeaseLost)


def claimant(name: str) -> Claimant:
    """A worker whose leases are stale as soon as they are made: everybody may steal."""
    return Claimant(name, "boot", 0, lambda *_: None)


@dataclass
class Actor:
    """One worker and what it believes to hold."""

    who: Claimant
    leases: dict[str, Lease] = field(default_factory=dict)


@dataclass
class Walk:
    """What was seen."""

    taken: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def illegal(self) -> list[tuple[str, str]]:
        """Steps that the table does not have."""
        return [step for step in self.taken if step[1] not in MAY_FOLLOW[step[0]].split()]


class Project:
    """Jobs of one project, three workers, and what has been seen of every job's state."""

    def __init__(self, root: Path, dice: random.Random, seen: Walk) -> None:
        (root / "gpu_jobs").mkdir(parents=True)
        (root / "gpu_jobs/manifest.yaml").write_text("version: 1\njobs: []\n")
        self._seen = seen
        self._root = root
        self._dice = dice
        self._store = LocalStore(root)
        self._actors = [Actor(claimant(name)) for name in ("us", "them", "others")]
        self._patience = Patience(0.0, threading.Event())
        self._number = 0
        self._seen_last = ("pending", b"")
        self._job = self._next_job()

    def step(self) -> None:
        """One worker tries one thing, sensible or not."""
        actor = self._next_actor()
        act = self._choose(actor)
        before = self._state()
        try:
            act(actor)
        except REFUSED as error:
            actor.leases.pop(self._job.job_id, None)
            self._seen.refused[type(error).__name__] += 1
            assert self._state() == before, f"{act.__name__} was refused and changed something"
            return
        if self._state() != before:  # giving back what nobody holds any more does nothing
            self._seen.taken[before[0], self._state()[0]] += 1
        if self._state()[0] not in ("pending", "running") and self._dice.random() < 0.7:
            self._job = self._next_job()

    def _next_actor(self) -> Actor:
        """Mostly one who believes to hold the job: whoever does not is nearly always refused."""
        holders = [actor for actor in self._actors if self._job.job_id in actor.leases]
        return self._dice.choice(holders if self._dice.random() < 0.7 and holders else self._actors)

    def _choose(self, actor: Actor) -> Callable[[Actor], None]:
        if self._job.job_id not in actor.leases:
            acts = (self._claim,) * 4 + (self._steal, self._acknowledge, self._refuse)
        else:
            acts = (self._renew,) * 3 + (self._finish,) * 2 + (self._release, self._steal)
        return self._dice.choice((*acts, self._claim))

    def _next_job(self) -> Job:
        self._number += 1
        model = ModelSpec(type="X")
        return Job(job_id=f"j{self._number}", job_type=JobType.ASR, mode=Mode.TRAINING, model=model)

    def _state(self) -> tuple[str, bytes]:
        path = self._root / paths.response_path(self._job.job_id)
        content = path.read_bytes() if path.exists() else b""
        if content != self._seen_last[1]:
            response = parse_response(content)
            self._seen_last = str(response.state) if response is not None else "pending", content
        return self._seen_last

    def _claim(self, actor: Actor) -> None:
        lease = claims.claim(self._store, self._job, actor.who, self._patience)
        actor.leases[self._job.job_id] = lease

    def _acknowledge(self, actor: Actor) -> None:
        claims.acknowledge_cancel(self._store, self._job.job_id, actor.who)

    def _refuse(self, actor: Actor) -> None:
        claims.refuse(self._store, self._job.job_id, "odd", actor.who)

    def _steal(self, actor: Actor) -> None:
        stale = takeover.examine(self._store, self._job)
        if stale is None:
            return
        lease = takeover.take_over(
            self._store, stale, actor.who, self._patience, self._dice.choice((1, MAX_ATTEMPTS, 50))
        )
        actor.leases.pop(self._job.job_id, None)
        if lease is not None:
            actor.leases[self._job.job_id] = lease

    def _renew(self, actor: Actor) -> None:
        lease = actor.leases[self._job.job_id]
        lease.renew(self._patience, epochs_completed=self._dice.randrange(9))

    def _finish(self, actor: Actor) -> None:
        lease = actor.leases.pop(self._job.job_id)
        outcome = self._dice.choice((JobState.COMPLETED, JobState.FAILED, JobState.CANCELED))
        lease.finish(tuple, self._patience, outcome)

    def _release(self, actor: Actor) -> None:
        actor.leases.pop(self._job.job_id).release(self._patience)


def walk(root: Path, seed: int, steps: int) -> Walk:
    """Take so many steps, in a new project now and then: a folder of many jobs is slow."""
    dice, seen = random.Random(seed), Walk()
    for number in itertools.count():
        project = Project(root / str(number), dice, seen)
        for _ in range(STEPS_PER_PROJECT):
            project.step()
            if seen.taken.total() >= steps:
                return seen
        shutil.rmtree(root / str(number))
    raise AssertionError("numbers do not end")
