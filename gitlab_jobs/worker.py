"""The worker's loop: look, claim, run, tidy up, wait.

    scan ─► acknowledge canceled, refuse unreadable ─► claim the oldest ─► attempt ─► prune ─► scan …
      └──── nothing to do: wait for the interval (or end, with --loop-interval -1)

One job at a time. Knows ports only: catalogs, stores and children are given to it. A fault in one
project never keeps another from being served. Stop order: no new claims, then the running attempt is
told, its heartbeat keeps the lease until the child is gone, then the lease is given back.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from gitlab_jobs import claims, takeover
from gitlab_jobs.attempt import Attempt, Bench
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.errors import (
    AlreadyExists,
    Denied,
    Forbidden,
    LeaseLost,
    Missing,
    StoreError,
)
from gitlab_jobs.job import CancelReason, JobState
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.ledger import Row, Standing
from gitlab_jobs.recovery import Recovery, Resumable, is_rolled_back, reassert
from gitlab_jobs.resume import removal
from gitlab_jobs.scanner import Candidate, JobScanner, Offers
from gitlab_jobs.store import ProjectCatalog, ProjectRef, ProjectStore
from gitlab_jobs.workspace import Workspace, prune_workspaces
from runner.signals import Signals

logger = logging.getLogger(__name__)

CLAIM_PATIENCE_S = 60.0
REFUSED_PROJECT_PAUSE_S = 3600.0
JITTER = 0.1
MAX_RESUMES = 20

T = TypeVar("T")


class Readiness(Protocol):
    """What the service manager hears of the loop."""

    def ready(self) -> None:
        """The first look at the projects has succeeded."""

    def tell(self, status: str) -> None:
        """The loop is alive, and this is what it does; cheap to call often."""

    def stopping(self) -> None:
        """The daemon has been asked to end."""


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """Everything a worker is wired from."""

    catalog: ProjectCatalog
    scanner: JobScanner
    bench: Bench
    claimant: claims.Claimant
    signals: Signals
    readiness: Readiness
    recovery: Recovery


class Worker:
    """Runs until told to stop, or until idle in one-shot mode."""

    def __init__(self, parts: WorkerParts) -> None:
        """Nothing is read before `run`."""
        self._parts = parts
        self._settings = parts.bench.settings
        self._paused: dict[ProjectRef, float] = {}
        self._finished = 0

    def run(self) -> None:
        """Loop until stopped.

        Raises:
            Denied: the token is refused; nothing further may be sent with it.
            StoreError: only in one-shot mode, when the server cannot be read.
            OSError: this machine can run nothing; a job that was claimed has been given back.
        """
        one_shot = self._settings.loop_interval < 0
        while not self._takes_nothing_new:
            self._resume()
            worked = self._turn(one_shot=one_shot)
            if worked:
                continue
            if one_shot:
                break
            self._wait(self._settings.loop_interval)
        self._parts.readiness.stopping()
        logger.info("stopped; %d jobs done", self._finished)

    def _turn(self, *, one_shot: bool) -> bool:
        try:
            offers = self._parts.scanner.scan()
        except Denied:
            raise
        except StoreError as error:
            if one_shot:
                raise
            logger.warning("could not look for jobs, trying again later: %s", error)
            return False
        self._parts.readiness.ready()
        reach("scan.done")
        self._answer(offers)
        return any(self._take(candidate, self._claim) for candidate in offers.candidates) or any(
            self._take(candidate, self._take_over) for candidate in offers.stale
        )

    def _resume(self) -> None:
        """Go on with what a killed predecessor had in hand."""
        for found in self._parts.recovery.resumable():
            if self._takes_nothing_new:
                return
            self._in_project(found.store.project, partial(self._go_on, found=found))

    def _go_on(self, store: ProjectStore, found: Resumable) -> None:
        """Take up one job: a renewal first, which proves that it is ours and keeps others away."""
        job_id, patience = found.lease.job.job_id, self._patience()
        try:
            if found.has_ended:
                pass  # the final commit is the best proof
            elif found.resumed >= MAX_RESUMES:
                self._give_up(store, found, patience)
                return
            else:
                found.lease.renew(patience, status_message="Going on after a restart")
            reach("recovery.renewed")
        except LeaseLost as lost:
            logger.warning("job %s is not ours any more (%s)", job_id, lost.reason)
            self._parts.bench.ledger.note(store.project, job_id, Standing.LOST)
            return
        self._run_attempt(found.lease, found.store, found.workspace)

    def _give_up(self, store: ProjectStore, found: Resumable, patience: Patience) -> None:
        """End a job that a worker did not survive again and again."""
        job_id = found.lease.job.job_id
        logger.error("job %s was interrupted %d times; it is failed", job_id, found.resumed)
        found.lease.finish(
            partial(removal, store, job_id),
            patience,
            JobState.FAILED,
            status_message=None,
            error_message=f"The worker was interrupted {found.resumed} times while it ran this job.",
            error_code="RUNNER_INTERRUPTED",
        )
        self._parts.bench.ledger.note(store.project, job_id, Standing.DONE, found.lease.response)

    def _answer(self, offers: Offers) -> None:
        """Reply to what needs no work: canceled before it started, or unreadable."""
        claimant = self._parts.claimant
        for canceled in offers.canceled:
            acknowledge = partial(
                claims.acknowledge_cancel, job_id=canceled.job.job_id, claimant=claimant
            )
            self._in_project(canceled.project, acknowledge)
        for bad in offers.unreadable:
            refuse = partial(
                claims.refuse, job_id=bad.job_id, message=bad.message, claimant=claimant
            )
            self._in_project(bad.project, refuse)
        for running in offers.running:
            row = self._parts.bench.ledger.find(running.project, running.job.job_id)
            if row is not None and is_rolled_back(row, running.response):
                self._in_project(running.project, partial(reassert, row=row))

    def _take(
        self, candidate: Candidate, get: Callable[[ProjectStore, Candidate], Lease | None]
    ) -> bool:
        """Get hold of a job and run it; False if it was not to be had."""
        if self._takes_nothing_new:
            return False
        lease = self._in_project(candidate.project, lambda store: get(store, candidate))
        if lease is None:
            return False
        self._run_attempt(lease, self._parts.catalog.open(candidate.project))
        return True

    def _take_over(self, store: ProjectStore, candidate: Candidate) -> Lease | None:
        stale = takeover.examine(store, candidate.job)
        if stale is None or self._ended_here(store, candidate) is not None:
            return None
        return takeover.take_over(
            store, stale, self._parts.claimant, self._patience(), self._settings.max_attempts
        )

    def _claim(self, store: ProjectStore, candidate: Candidate) -> Lease | None:
        if not store.can_write():
            raise Forbidden(
                f"the account may not push to {candidate.project.default_branch}; a maintainer has to "
                "allow developers to push there, or raise the account's role"
            )
        row = self._ended_here(store, candidate)
        if row is not None:
            # Somebody removed the answer, not the job: it is not run a second time.
            reassert(store, row)
            return None
        return claims.claim(store, candidate.job, self._parts.claimant, self._patience())

    def _ended_here(self, store: ProjectStore, candidate: Candidate) -> Row | None:
        """The ledger's row of a job that was finished here; such a job is never run again."""
        row = self._parts.bench.ledger.find(store.project, candidate.job.job_id)
        return row if row is not None and row.standing is Standing.DONE else None

    def _run_attempt(
        self, lease: Lease, store: ProjectStore, workspace: Workspace | None = None
    ) -> None:
        job, ledger = lease.job, self._parts.bench.ledger
        ledger.note(store.project, job.job_id, Standing.HELD)
        reach("attempt.held")
        self._parts.readiness.tell(f"1 job: {job.job_id} ({job.job_type} {job.mode})")
        try:
            attempt = Attempt(lease, store, self._parts.bench, workspace)
            attempt.run(lambda: self._tick(job.job_id))
        except OSError:
            # No directory or no process: the next job would fare no better here, another box may.
            lease.release(self._patience())
            ledger.note(store.project, job.job_id, Standing.RELEASED)
            raise
        self._finished += 1
        in_use = {row.workspace for row in ledger.unsettled() if row.workspace is not None}
        prune_workspaces(self._settings.work_dir, self._settings.keep_jobs, in_use)

    def _patience(self) -> Patience:
        return Patience(CLAIM_PATIENCE_S, self._parts.bench.enough)

    def _tick(self, job_id: str) -> CancelReason | None:
        signals = self._parts.signals
        if signals.wants_stop:
            self._parts.readiness.stopping()
        self._parts.readiness.tell(f"{'stopping: ' if signals.wants_stop else ''}1 job: {job_id}")
        if signals.wants_end_now:
            self._parts.bench.enough.set()
        return CancelReason.SHUTDOWN if signals.wants_stop else None

    @property
    def _takes_nothing_new(self) -> bool:
        return self._parts.signals.wants_stop or self._parts.signals.wants_drain

    def _in_project(self, project: ProjectRef, act: Callable[[ProjectStore], T]) -> T | None:
        """Do something in a project; its faults pause that project and nobody else."""
        if self._paused.get(project, 0.0) > time.monotonic():
            return None
        try:
            return act(self._parts.catalog.open(project))
        except AlreadyExists as error:
            logger.debug("%s", error)
        except Forbidden as error:
            logger.warning("project %s is left alone for an hour: %s", project.path, error)
            self._paused[project] = time.monotonic() + REFUSED_PROJECT_PAUSE_S
        except Missing as error:
            logger.info("project %s is not there any more: %s", project.path, error)
            self._paused[project] = time.monotonic() + REFUSED_PROJECT_PAUSE_S
        except Denied:
            raise
        except StoreError as error:
            logger.warning("project %s could not be served now: %s", project.path, error)
        return None

    def _wait(self, seconds: float) -> None:
        """Sleep a jittered interval, waking for signals and beating for the watchdog."""
        until = time.monotonic() + seconds * random.uniform(1 - JITTER, 1 + JITTER)
        while not self._takes_nothing_new and (left := until - time.monotonic()) > 0:
            self._parts.readiness.tell(f"idle; {self._finished} jobs done")
            self._parts.signals.wait(min(left, 5.0))
