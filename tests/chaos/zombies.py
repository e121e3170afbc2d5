"""Zombies: owners that fall silent, are robbed of their job, wake up and go on as if nothing had happened.

    claim ─► (renew) ─► silence until the lease is stale ─► 1 to 4 thieves at once ─► the owner wakes
                                     └── or it wakes in the same moment as the thieves come ──┘

A zombie tries to renew, to publish results and to give the job back, in any order. Every result file
carries the nonce of who wrote it, so the history shows whose work was published.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from chaos.field import Field, claimant, job, patience
from chaos.history import Step, steps, violations

from gitlab_jobs import claims, paths
from gitlab_jobs.errors import AlreadyExists, LeaseLost
from gitlab_jobs.gitlab_store import GitLabStore
from gitlab_jobs.job import JobState
from gitlab_jobs.lease import Lease
from gitlab_jobs.store import Change, Create
from gitlab_jobs.takeover import examine, take_over

LEASE_S = 1
STALE_S = 2.5
"""The server's clock shows whole seconds only."""
JOBS_PER_PROJECT = 100
THREADS = 16
LOST_REPLIES = 0.05
MAX_ATTEMPTS = 3
MOST_THIEVES = 4
RESULT = "result.txt"

ZOMBIE_ACTS: dict[str, Callable[[Lease], object]] = {
    "renew": lambda lease: lease.renew(patience()),
    "finish": lambda lease: finish(lease),
    "release": lambda lease: lease.release(patience()),
}


@dataclass
class Tally:
    """What came out. `zombie_commits`, `double_thefts` and `errors` must be 0."""

    jobs: int = 0
    thefts: int = 0
    wake_ups: int = 0
    owners_in_time: int = 0
    zombie_commits: int = 0
    double_thefts: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def failures(self) -> int:
        """Everything that must not be."""
        return self.zombie_commits + self.double_thefts + len(self.errors)


@dataclass
class Case:
    """One job's fate, drawn before it begins."""

    job_id: str
    project: str
    thieves: int
    renewals: int
    wakes_with_thieves: bool
    winner_finishes_first: bool
    acts: list[str]
    lease: Lease | None = None
    winners: list[Lease] = field(default_factory=list)


def plan(seed: int, jobs: int) -> list[Case]:
    """What happens to each job; the same for the same seed."""
    rng = random.Random(seed)
    found: list[Case] = []
    for number in range(jobs):
        acts = rng.sample(sorted(ZOMBIE_ACTS), k=rng.randint(1, 3))
        found.append(
            Case(
                job_id=f"job-{number}",
                project=f"bible/p{number // JOBS_PER_PROJECT}",
                thieves=rng.choice((1, 1, 2, MOST_THIEVES)),
                renewals=rng.choice((0, 0, 1, 2)),
                wakes_with_thieves=rng.random() < 0.2,
                winner_finishes_first=rng.random() < 0.3,
                acts=acts,
            )
        )
    return found


def run(directory: Path, seed: int, jobs: int) -> Tally:
    """Live through all cases side by side, then count what the history says."""
    cases = plan(seed, jobs)
    tally = Tally(jobs=jobs)
    with Field(directory, sorted({case.project for case in cases})) as field_:
        field_.lose_replies(LOST_REPLIES, seed)
        local = threading.local()

        def boxes(case: Case) -> list[GitLabStore]:
            if not hasattr(local, "sessions"):
                local.sessions = [field_.session() for _ in range(1 + MOST_THIEVES)]
            return [field_.store(case.project, session) for session in local.sessions]

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda case: _live(case, boxes(case)[0]), cases))
            time.sleep(STALE_S)
            list(pool.map(lambda case: _die_and_wake(case, boxes(case), tally), cases))
        _check(field_, cases, tally)
    return tally


def finish(lease: Lease) -> None:
    """Publish a result that names its writer."""
    path = f"{paths.job_folder(lease.job.job_id)}/{RESULT}"

    def compose() -> list[Change]:
        return [Create(path, str(lease.response.claim).encode())]

    lease.finish(compose, patience(), JobState.COMPLETED)


def _live(case: Case, store: GitLabStore) -> None:
    who = claimant(f"owner-of-{case.job_id}", LEASE_S)
    case.lease = claims.claim(store, job(case.job_id), who, patience())
    for _ in range(case.renewals):
        case.lease.renew(patience())


def _die_and_wake(case: Case, stores: list[GitLabStore], tally: Tally) -> None:
    assert case.lease is not None
    lease = case.lease
    awake: list[str] = []
    together = threading.Barrier(case.thieves + case.wakes_with_thieves)
    acts: list[Callable[[], None]] = [
        partial(_steal, case, stores[1 + number], together, number)
        for number in range(case.thieves)
    ]
    if case.wakes_with_thieves:
        acts.append(partial(_renew_in_time, lease, together, awake))
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if awake:
        tally.owners_in_time += 1
        if case.winners:
            tally.double_thefts += 1
        return
    if len(case.winners) != 1:
        tally.double_thefts += len(case.winners) > 1
        tally.errors += [] if case.winners else [f"{case.job_id}: nobody took it over"]
        return
    tally.thefts += 1
    _haunt(case, lease, tally)


def _steal(case: Case, store: GitLabStore, together: threading.Barrier, number: int) -> None:
    stale = examine(store, job(case.job_id))
    together.wait(timeout=60)
    if stale is None:
        return
    try:
        won = take_over(
            store, stale, claimant(f"thief-{number}", 3600), patience(), max_attempts=MAX_ATTEMPTS
        )
    except AlreadyExists:
        return
    assert won is not None
    case.winners.append(won)


def _renew_in_time(lease: Lease, together: threading.Barrier, awake: list[str]) -> None:
    together.wait(timeout=60)
    try:
        lease.renew(patience())
    except LeaseLost:
        return
    awake.append(lease.path)


def _haunt(case: Case, zombie: Lease, tally: Tally) -> None:
    """The old owner does what it was about to do; the new one finishes before or after."""
    if case.winner_finishes_first:
        finish(case.winners[0])
    for act in case.acts:
        tally.wake_ups += 1
        try:
            ZOMBIE_ACTS[act](zombie)
        except LeaseLost:
            continue
        tally.errors.append(f"{case.job_id}: a zombie believes in its {act}")
    if not case.winner_finishes_first:
        finish(case.winners[0])


def _check(field_: Field, cases: list[Case], tally: Tally) -> None:
    lives = {path: steps(field_.repository(path)) for path in {case.project for case in cases}}
    for case in cases:
        life = lives[case.project][case.job_id]
        tally.errors += violations(life)
        assert case.lease is not None
        if case.winners:
            stolen = next(
                number for number, step in enumerate(life) if step.claim == _nonce(case.winners[0])
            )
            tally.zombie_commits += sum(not _is_of(step, case.winners[0]) for step in life[stolen:])
            if life[-1].state != "completed":
                tally.errors.append(f"{case.job_id} ended {life[-1].state}")


def _is_of(step: Step, owner: Lease) -> bool:
    written = step.files.get(RESULT, _nonce(owner).encode()).decode()
    return step.claim == _nonce(owner) == written


def _nonce(lease: Lease) -> str:
    return str(lease.response.claim)
