"""The attempts under way: a thread for each, from its start in a slot to its end.

    start ─► thread: Attempt.run ─► wake the loop ─► collect: slot free, old directories pruned
                 ▲ asked twice a second: stop?

One attempt that fails in an unforeseen way ends alone, and the ledger has it taken up again; what no other
attempt could do better here (no disk, no processes, a refused token) ends them all. Knows no queue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from gitlab_jobs.attempt import Attempt, Bench
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.errors import Denied
from gitlab_jobs.job import CancelReason, Job, JobState
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.ledger import Standing
from gitlab_jobs.slots import Slot, Slots, needs_of
from gitlab_jobs.store import ProjectRef, ProjectStore
from gitlab_jobs.telemetry import BROKE, HANDED_BACK, Telemetry
from gitlab_jobs.workload import waited_s
from gitlab_jobs.workspace import Workspace, prune_workspaces
from runner.signals import Signals

logger = logging.getLogger(__name__)

JobKey = tuple[str, str]
"""Project id and job id."""


def key_of(project: ProjectRef, job_id: str) -> JobKey:
    """What tells a job from all others."""
    return (project.id, job_id)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    project: ProjectRef
    job: Job
    slot: Slot
    attempt: Attempt
    wait_s: float
    """From its submission to its beginning; 0 for one that was begun before."""


class Running:
    """Owns the attempts' threads; every method is called by the worker's loop."""

    def __init__(
        self,
        bench: Bench,
        slots: Slots,
        signals: Signals,
        patience: Callable[[], Patience],
        telemetry: Telemetry,
    ) -> None:
        """Prepare for as many attempts at once as there may be jobs."""
        self._bench = bench
        self._slots = slots
        self._signals = signals
        self._patience = patience
        self._telemetry = telemetry
        self._under_way: dict[Future[JobState | None], _UnderWay] = {}
        self._pool = ThreadPoolExecutor(slots.limit, thread_name_prefix="attempt")
        self._must_stop = False
        self.finished = 0

    @property
    def keys(self) -> frozenset[JobKey]:
        """The jobs under way."""
        return frozenset(key_of(one.project, one.job.job_id) for one in self._under_way.values())

    @property
    def projects(self) -> list[ProjectRef]:
        """Their projects, one entry a job."""
        return [one.project for one in self._under_way.values()]

    @property
    def has_ended(self) -> bool:
        """Whether there is something to collect."""
        return any(future.done() for future in self._under_way)

    @property
    def have_all_ended(self) -> bool:
        """Whether nothing runs any more."""
        return all(future.done() for future in self._under_way)

    def __bool__(self) -> bool:
        """Whether anything is under way."""
        return bool(self._under_way)

    def __str__(self) -> str:
        """One line for a service manager."""
        jobs = [one.job for one in self._under_way.values()]
        if len(jobs) == 1:
            return f"1 job: {jobs[0].job_id} ({jobs[0].job_type} {jobs[0].mode})"
        return f"{len(jobs)} jobs: {', '.join(job.job_id for job in jobs)}"

    def lines(self) -> list[str]:
        """One line a job for an operator."""
        return [
            f"job {one.job.job_id} of {one.project.path} on {one.slot.device}: {one.attempt.doing}"
            for one in self._under_way.values()
        ]

    def start(
        self, lease: Lease, store: ProjectStore, slot: Slot, workspace: Workspace | None = None
    ) -> None:
        """Run an attempt at a leased job in a slot.

        Raises:
            OSError: it has no directory to work in; the job has been given back.
        """
        job, bench = lease.job, self._bench
        bench.ledger.note(store.project, job.job_id, Standing.HELD)
        reach("attempt.held")
        try:
            needs = needs_of(job, store.project, bench.settings)
            place = self._slots.place(slot, needs)
            attempt = Attempt(lease, store, bench, place, workspace)
        except OSError:
            self.give_back(lease, store)
            raise
        self._slots.occupy(slot)
        is_new = workspace is None and lease.attempt == 1
        wait_s = waited_s(job.submitted_at) if is_new else 0.0
        future = self._pool.submit(self._run, attempt, lease, store)
        self._under_way[future] = _UnderWay(store.project, job, slot, attempt, wait_s)
        self._telemetry.note_start()
        future.add_done_callback(lambda _: self._signals.wake())

    def collect(self) -> None:
        """Tidy up after attempts that have ended.

        Raises:
            OSError, Denied: an attempt met what would befall every other one here.
        """
        ended = [future for future in self._under_way if future.done()]
        for future in ended:
            one = self._under_way.pop(future)
            self._look_at(future, one)
        if ended:
            self._prune()

    def give_back(self, lease: Lease, store: ProjectStore) -> None:
        """Make a job pending again that nothing has been done for."""
        lease.release(self._patience())
        self._bench.ledger.note(store.project, lease.job.job_id, Standing.RELEASED)

    def stop(self) -> None:
        """Tell all attempts to stop; returns at once."""
        self._must_stop = True

    def close(self) -> None:
        """Let threads and idle children go; nothing may be under way."""
        self._pool.shutdown(wait=True)
        self._slots.close()

    def _run(self, attempt: Attempt, lease: Lease, store: ProjectStore) -> JobState | None:
        try:
            return attempt.run(self._reason_to_stop)
        except OSError:
            # No process: the next job would fare no better here, another box may.
            self.give_back(lease, store)
            raise

    def _reason_to_stop(self) -> CancelReason | None:
        """Asked by the attempts' threads."""
        return CancelReason.SHUTDOWN if self._must_stop or self._signals.wants_stop else None

    def _look_at(self, future: Future[JobState | None], one: _UnderWay) -> None:
        error, job = future.exception(), one.job
        outcome = BROKE if error is not None else future.result() or HANDED_BACK
        self._slots.vacate(one.slot, outcome, one.wait_s)
        self._telemetry.note_end(job, outcome)
        if error is None:
            self.finished += 1
            return
        if isinstance(error, OSError | Denied):
            raise error
        logger.error("the attempt at job %s broke; it is tried again", job.job_id, exc_info=error)

    def _prune(self) -> None:
        settings, ledger = self._bench.settings, self._bench.ledger
        in_use = {row.workspace for row in ledger.unsettled() if row.workspace is not None}
        prune_workspaces(settings.work_dir, settings.keep_jobs, in_use)
