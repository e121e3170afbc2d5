"""The worker's loop: look, claim, hand over to a slot, tidy up, wait.

    scan ─► acknowledge canceled, refuse unreadable ─► claim, project by project ─► a slot runs the attempt
      └──── every slot is busy, or nothing to do: wait for an attempt's end, a signal, the interval

As many jobs at once as there are slots. Knows ports only: catalogs, stores and children are given to it. A
fault in one project never keeps another from being served. Stop order: no new claims, then the running
attempts are told, their heartbeats keep the leases until the children are gone, then those are given back.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from gitlab_jobs import claims, takeover
from gitlab_jobs.attempt import Bench
from gitlab_jobs.children import Needs
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.errors import AlreadyExists, Denied, Forbidden, LeaseLost, Missing, StoreError
from gitlab_jobs.job import Job, JobState
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.ledger import Row, Standing
from gitlab_jobs.recovery import Recovery, Resumable, is_rolled_back, reassert
from gitlab_jobs.resume import removal
from gitlab_jobs.running import Running, key_of
from gitlab_jobs.scanner import Candidate, JobScanner, Offers
from gitlab_jobs.signal_desk import SignalDesk
from gitlab_jobs.slots import Slots, needs_of
from gitlab_jobs.store import ProjectCatalog, ProjectRef, ProjectStore
from gitlab_jobs.telemetry import Telemetry
from gitlab_jobs.turns import Turns
from runner.signals import Signals

logger = logging.getLogger(__name__)

CLAIM_PATIENCE_S = 60.0
REFUSED_PROJECT_PAUSE_S = 3600.0
JITTER = 0.1
MAX_RESUMES = 20
BEAT_S = 1.0
"""Between two life signs to a service manager."""

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
    slots: Slots
    claimant: claims.Claimant
    signals: Signals
    readiness: Readiness
    recovery: Recovery
    telemetry: Telemetry
    desk: SignalDesk


class Worker:
    """Runs until told to stop, or until idle in one-shot mode."""

    def __init__(self, parts: WorkerParts) -> None:
        """Nothing is read before `run`."""
        self._parts = parts
        self._settings = parts.bench.settings
        self._running = Running(
            parts.bench, parts.slots, parts.signals, self._patience, parts.telemetry
        )
        self._turns = Turns()
        self._paused: dict[ProjectRef, float] = {}

    def run(self) -> None:
        """Loop until stopped, then until the last attempt has ended.

        Raises:
            Denied: the token is refused; nothing further may be sent with it.
            StoreError: only in one-shot mode, when the server cannot be read.
            OSError: this machine can run nothing; a job that was claimed has been given back.
        """
        try:
            self._loop(one_shot=self._settings.loop_interval < 0)
            while self._running:
                self._pause(BEAT_S)
                self._running.collect()
            # Not before: the service manager kills what has said so and takes too long.
            self._parts.readiness.stopping()
        except BaseException:
            self._running.stop()
            while not self._running.have_all_ended:
                self._pause(BEAT_S)
            raise
        finally:
            self._running.close()
        logger.info("stopped; %d jobs done", self._running.finished)

    def _loop(self, *, one_shot: bool) -> None:
        slots = self._parts.slots
        while not self._takes_nothing_new:
            self._running.collect()
            slots.look()
            worked = False
            if slots.has_room or not self._running:
                self._resume()
                worked = self._turn(one_shot=one_shot)
            if one_shot and not worked and not self._running:
                break
            self._wait(self._parts.desk.settings.loop_interval)

    def _turn(self, *, one_shot: bool) -> bool:
        """Look once and take what there is room for."""
        try:
            offers = self._parts.scanner.scan()
        except Denied:
            raise
        except StoreError as error:
            if one_shot:
                raise
            self._parts.telemetry.note_poll(time.time(), is_good=False)
            logger.warning("could not look for jobs, trying again later: %s", error)
            return False
        self._parts.telemetry.note_poll(time.time(), is_good=True)
        self._parts.readiness.ready()
        reach("scan.done")
        self._answer(offers)
        return self._take_all(offers)

    def _take_all(self, offers: Offers) -> bool:
        """Take pending jobs, project by project, then silent ones; True if there was any to be had."""
        running = self._running.projects
        pending = self._turns.choose(self._others(offers.candidates), running)
        stale = iter(self._others(offers.stale))
        found = False
        for candidates, get in ((pending, self._claim), (stale, self._take_over)):
            while not self._takes_nothing_new and self._parts.slots.has_room:
                candidate = next(candidates, None)
                if candidate is None:
                    break
                if self._take(candidate, get):
                    found = True
                    running.append(candidate.project)
        waiting = [one.job.submitted_at for one in self._others(offers.candidates)]
        self._parts.slots.workload.note_waiting(waiting)
        return found

    def _resume(self) -> None:
        """Go on with what a killed predecessor, or an attempt that broke, had in hand."""
        for found in self._parts.recovery.resumable(self._running.keys):
            if self._takes_nothing_new or self._parts.slots.any_free() is None:
                return
            self._in_project(found.store.project, partial(self._go_on, found=found))

    def _go_on(self, store: ProjectStore, found: Resumable) -> None:
        """Take up one job: a renewal first, which proves that it is ours and keeps others away."""
        job_id, patience = found.lease.job.job_id, self._patience()
        slots = self._parts.slots
        slot = (
            slots.any_free()
            if found.has_ended
            else slots.choose(self._needs(store, found.lease.job))
        )
        if slot is None:
            # A training's state is worth more than the time until the lease is stale for another box.
            if slots.are_all_sick and not found.lease.job.mode.trains:
                self._running.give_back(found.lease, store)
                logger.warning("gave job %s back: no device of this box can be used", job_id)
            return
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
        self._running.start(found.lease, found.store, slot, found.workspace)

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
        for running in self._others(offers.running):
            row = self._parts.bench.ledger.find(running.project, running.job.job_id)
            if row is not None and is_rolled_back(row, running.response):
                self._in_project(running.project, partial(reassert, row=row))

    def _take(
        self, candidate: Candidate, get: Callable[[ProjectStore, Candidate], Lease | None]
    ) -> bool:
        """Get hold of a job and run it; False if there is no place for it, or it was not to be had."""
        store = self._parts.catalog.open(candidate.project)
        slot = self._parts.slots.choose(self._needs(store, candidate.job))
        if slot is None:
            return False
        lease = self._in_project(candidate.project, lambda store: get(store, candidate))
        if lease is None:
            return False
        self._turns.note_claim(candidate.project)
        self._running.start(lease, store, slot)
        self._beat()
        return True

    def _needs(self, store: ProjectStore, job: Job) -> Needs:
        return needs_of(job, store.project, self._settings)

    def _others(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """All but the jobs that run here: what a look found of them may be older than their end."""
        ours = self._running.keys
        return [one for one in candidates if key_of(one.project, one.job.job_id) not in ours]

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

    def _patience(self) -> Patience:
        return Patience(CLAIM_PATIENCE_S, self._parts.bench.enough)

    def _beat(self) -> None:
        """Show the service manager that the loop is alive, and end all trying if asked twice."""
        signals, readiness = self._parts.signals, self._parts.readiness
        self._parts.desk.attend(self._status)
        if signals.wants_stop:
            readiness.stopping()
        if signals.wants_end_now:
            self._parts.bench.enough.set()
        readiness.tell(self._headline)

    @property
    def _headline(self) -> str:
        """One line for a service manager."""
        parts = [
            str(self._running) if self._running else f"idle; {self._running.finished} jobs done"
        ]
        if troubles := self._parts.slots.troubles:
            parts.append(f"GPUs out of use: {len(troubles)}")
        return f"{'stopping: ' if self._parts.signals.wants_stop else ''}{'; '.join(parts)}"

    def _status(self) -> list[str]:
        """What an operator wants to know, in lines."""
        running = self._running
        sick = [
            f"GPU {device} is left alone: {reason}"
            for device, reason in self._parts.slots.troubles.items()
        ]
        return [
            f"{len(running.keys)} jobs run, {running.finished} are done",
            *running.lines(),
            *sick,
        ]

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
        """Sleep until an attempt has ended or a signal came; a jittered interval at most.

        Args:
            seconds: the interval; a negative one waits for an attempt as long as it takes.
        """
        until = float("inf")
        if seconds >= 0:
            until = time.monotonic() + seconds * random.uniform(1 - JITTER, 1 + JITTER)
        while not self._takes_nothing_new and not self._running.has_ended:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._parts.slots.expire()
            self._pause(min(left, BEAT_S))

    def _pause(self, seconds: float) -> None:
        self._beat()
        self._parts.signals.wait(seconds)
