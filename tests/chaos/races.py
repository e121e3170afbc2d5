"""Claim races: workers that want the same job at the same moment, with some replies lost after the commit.

    races ─► each picks a project, a job and from 2 workers to all of them (seeded)
    every worker goes through its races in one order; a race begins when all who take part are there

Afterwards the history is asked: one claim commit per job, and its nonce is that of the one worker that
believes it owns the job.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from chaos.field import Field, claimant, job, patience
from chaos.history import steps, violations

from gitlab_jobs import claims
from gitlab_jobs.errors import AlreadyExists, ScriptoriumError
from gitlab_jobs.gitlab_store import GitLabStore

RACES_PER_PROJECT = 200
EVERYBODY = 0.01
MOST_SIZES = (2, 2, 2, 3, 4)
LOST_REPLIES = 0.08


@dataclass(frozen=True)
class Race:
    """One job and who wants it."""

    job_id: str
    project: str
    workers: tuple[int, ...]
    start: threading.Barrier


@dataclass
class Tally:
    """What came out. `double` and `unowned` must be 0."""

    races: int = 0
    claims_tried: int = 0
    replies_lost: int = 0
    double: int = 0
    unowned: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def failures(self) -> int:
        """Everything that must not be."""
        return self.double + self.unowned + len(self.errors)


def plan(seed: int, races: int, workers: int) -> list[Race]:
    """Which races there are; the same for the same seed."""
    rng = random.Random(seed)
    found: list[Race] = []
    projects = 1 + (races - 1) // RACES_PER_PROJECT
    for number in range(races):
        size = workers if rng.random() < EVERYBODY else rng.choice(MOST_SIZES)
        members = tuple(rng.sample(range(workers), size))
        # Neighbours in time share a project or not, as it comes: branches collide, too.
        path = f"bible/p{rng.randrange(projects)}"
        found.append(Race(f"race-{number}", path, members, threading.Barrier(size)))
    return found


def run(directory: Path, seed: int, races: int, workers: int) -> Tally:
    """Let the workers race, then count what the history says."""
    plans = plan(seed, races, workers)
    projects = sorted({race.project for race in plans})
    tally = Tally(races=races)
    with Field(directory, projects) as field_:
        field_.lose_replies(LOST_REPLIES, seed)
        owners = _race(field_, plans, workers, tally)
        tally.replies_lost = sum(rule["fired"] for rule in field_.server.fault_rules())
        _check(field_, plans, owners, tally)
    return tally


def _race(field_: Field, plans: list[Race], workers: int, tally: Tally) -> dict[str, list[str]]:
    owners: dict[str, list[str]] = defaultdict(list)
    lock = threading.Lock()

    def work(worker: int) -> None:
        session = field_.session()
        stores: dict[str, GitLabStore] = {}
        for race in plans:
            if worker not in race.workers:
                continue
            store = stores.get(race.project) or field_.store(race.project, session)
            stores[race.project] = store
            race.start.wait(timeout=120)
            try:
                lease = claims.claim(
                    store, job(race.job_id), claimant(f"worker-{worker}"), patience()
                )
            except AlreadyExists:
                continue
            except ScriptoriumError as error:
                with lock:
                    tally.errors.append(f"{race.job_id}, worker {worker}: {error!r}")
                continue
            with lock:
                owners[race.job_id].append(str(lease.response.claim))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.claims_tried = sum(len(race.workers) for race in plans)
    return owners


def _check(field_: Field, plans: list[Race], owners: dict[str, list[str]], tally: Tally) -> None:
    lives = {path: steps(field_.repository(path)) for path in {race.project for race in plans}}
    for race in plans:
        life = lives[race.project].get(race.job_id, [])
        believers = owners.get(race.job_id, [])
        if len(life) > 1 or len(believers) > 1:
            tally.double += 1
        elif not believers or not life or life[0].claim != believers[0]:
            tally.unowned += 1
        tally.errors += violations(life)


def sizes(plans: list[Race]) -> Counter[int]:
    """How many races of each size there are."""
    return Counter(len(race.workers) for race in plans)
