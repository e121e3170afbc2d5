"""One attempt at one leased job: child, heartbeat, service and outbox brought together, then the end.

    lease ─► workspace ─► child process ◄── requests ── service (bytes, models, outbox)
                │             │ ended
                │ heartbeat ──┤ cancel, removal, theft, timeout
                │ interim     │ log, curve, training state: every hour
                ▼             ▼
             logs.txt ──► outcome ──► one final commit (results, response, lease gone)

The child is started and awaited here; nothing here knows what a handler does. The heartbeat keeps the
lease fresh until the final commit begins, because uploads and log writing take time too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from gitlab_jobs import job_child, paths
from gitlab_jobs.callbacks import JobContext
from gitlab_jobs.children import Place
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.ending import Ending, load_ending, save_ending
from gitlab_jobs.errors import LeaseLost, StoreError
from gitlab_jobs.heartbeat import DOUBT_S, Heartbeat
from gitlab_jobs.interim import InterimSaves, Running
from gitlab_jobs.job import CancelReason, Job, JobState
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.ledger import Ledger, Standing
from gitlab_jobs.outbox import Outbox
from gitlab_jobs.outcome import Outcome, judge
from gitlab_jobs.publisher import Publisher
from gitlab_jobs.service import JobService, Site
from gitlab_jobs.settings import WorkerSettings
from gitlab_jobs.store import ProjectStore
from gitlab_jobs.wishes import UserWish
from gitlab_jobs.workspace import Workspace, open_workspace
from runner.child_process import ChildSpec, Limits
from runner.verdict import ChildExit

logger = logging.getLogger(__name__)

CHILD_ENTRY = "gitlab_jobs.job_child:run"
POLL_S = 0.5
GIB = 1 << 30
WISHES = (CancelReason.USER_CANCELED, CancelReason.JOB_REMOVED)
"""What a person asked for in the manifest, where a sync can make it vanish again."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every attempt of this daemon shares.

    `username` is the account's name, the author of edits. `loader` names the function that finds a
    handler. `enough` is set when even final writes must stop being tried. `ledger` remembers on disk.
    """

    settings: WorkerSettings
    username: str
    loader: str
    mask: Callable[[bytes], bytes]
    enough: Event
    ledger: Ledger
    child_environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def cache_dir(self) -> Path:
        """Objects and models shared by all jobs of this box."""
        return self.settings.work_dir.resolve() / "cache"


class Attempt:
    """Runs once, from a lease to the end of it."""

    def __init__(
        self,
        lease: Lease,
        store: ProjectStore,
        bench: Bench,
        place: Place,
        workspace: Workspace | None = None,
    ) -> None:
        """Prepare the job's directory, or go on in a killed predecessor's; nothing is started yet."""
        self._lease = lease
        self._store = store
        self._bench = bench
        self._place = place
        self._asked_to_stop: CancelReason | None = None
        self._started = datetime.now(UTC)
        self._workspace = workspace or open_workspace(bench.settings.work_dir, lease.job.job_id)
        reach("workspace.made")
        bench.ledger.settle_in(store.project, lease.job.job_id, self._workspace.root)
        reach("workspace.noted")
        self._outbox = Outbox()
        site = Site(
            username=bench.username,
            device=place.device,
            cache_dir=bench.cache_dir,
            scratch=self._workspace.scratch,
            families=bench.settings.models,
        )
        self._service = JobService(lease.job, store, self._outbox, site)
        self._child = place.open_child(
            self._spec(), self._service.serve, self._service.note_progress, self._outbox.clear
        )
        self._interim = self._make_interim()

    @property
    def job(self) -> Job:
        """The job at hand."""
        return self._lease.job

    @property
    def doing(self) -> str:
        """What it is at, as the user reads it."""
        return str(self._service.status().fields["status_message"])

    def stop(self, reason: CancelReason) -> None:
        """Tell the child to save what it can and end; the first reason stays. Returns at once."""
        if self._asked_to_stop is None:
            logger.info("stopping job %s: %s", self.job.job_id, reason)
            self._asked_to_stop = reason
            if reason in WISHES:
                self._bench.ledger.note_wish(self._store.project, self.job.job_id, reason)
            self._service.stop(reason)
            self._child.cancel(reason.value)

    def run(self, tick: Callable[[], CancelReason | None]) -> JobState | None:
        """Run the job to its end and publish that.

        Args:
            tick: called twice a second until the end is written; a reason it returns stops the job.

        Returns:
            The final state on the branch, or None if the job is not (or no longer) ours to end.
        """
        unpublished = load_ending(self._workspace)
        if unpublished is not None:
            logger.info("publishing what job %s had finished before", self.job.job_id)
            return self._while_ticking(lambda: self._publish_late(unpublished), tick)
        settings = self._bench.settings
        heartbeat = Heartbeat(
            self._lease,
            self._store,
            watch_s=settings.watch_s,
            heartbeat_s=settings.heartbeat_s,
            status=self._service.status,
            on_stop=self.stop,
        )
        self._child.start()
        reach("child.started")
        wish = self._wish_seen_before()
        if wish is not None:
            self.stop(wish)
        heartbeat.start()
        self._interim.start()
        try:
            ended = self._await_child(tick)
            return self._while_ticking(lambda: self._end(ended), tick)
        except BaseException:
            self._child.kill("the attempt broke")
            raise
        finally:
            self._interim.stop()
            # The lease is kept fresh until the end is written, which may take as long as an outage.
            heartbeat.stop()

    def _while_ticking(
        self, write: Callable[[], JobState | None], tick: Callable[[], CancelReason | None]
    ) -> JobState | None:
        """Write the end: hours of trying, perhaps, for which the loop's own life signs must not wait."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="publisher") as publisher:
            written = publisher.submit(write)
            while not wait([written], POLL_S).done:
                tick()
            return written.result()

    def _spec(self) -> ChildSpec:
        context = JobContext(self.job, self._lease.attempt, str(self._lease.response.worker_id))
        handler_dir = self._bench.settings.handlers_dir
        return ChildSpec(
            entry=CHILD_ENTRY,
            payload=job_child.make_ticket(
                context,
                self._workspace.scratch,
                loader=self._bench.loader,
                handler_dirs=(handler_dir.resolve(),) if handler_dir else (),
            ),
            work_dir=self._workspace.scratch,
            log_path=self._workspace.log_path,
            device=self._place.device,
            environment=self._bench.child_environment,
            limits=_limits(self._bench.settings, self._place.threads),
        )

    def _await_child(self, tick: Callable[[], CancelReason | None]) -> ChildExit:
        while True:
            ended = self._child.wait(POLL_S)
            if ended is not None:
                return ended
            reason = tick()
            if reason is not None:
                self.stop(reason)
                if self._bench.enough.is_set():
                    self._child.kill(reason.value)

    def _end(self, ended: ChildExit) -> JobState | None:
        reach("child.ended")
        self._interim.stop()
        return self._conclude(judge(ended, self._asked_to_stop), ended)

    def _conclude(self, outcome: Outcome, ended: ChildExit) -> JobState | None:
        if outcome.state is None:
            self._leave(outcome)
            return None
        ending = Ending(
            outcome,
            self._outbox.contents(),
            self._epochs_completed,
            self._heading(),
            tuple(_closing(outcome, ended)),
        )
        reach("ending.intended")
        save_ending(self._workspace, ending)
        reach("ending.saved")
        return self._publish(ending)

    def _publish_late(self, ending: Ending) -> JobState | None:
        """Publish what was finished before a crash, unless its user wants it no more."""
        try:
            wish = self._wish_seen_before() or self._wish_now()
        except StoreError as error:
            logger.error("the end of job %s has to wait: %s", self.job.job_id, error)
            return None
        if wish is not None and ending.outcome.state is not JobState.CANCELED:
            ending = replace(ending, outcome=Outcome(JobState.CANCELED, reason=wish))
        return self._publish(ending)

    def _wish_seen_before(self) -> CancelReason | None:
        row = self._bench.ledger.find(self._store.project, self.job.job_id)
        return row.wish if row is not None else None

    def _wish_now(self) -> CancelReason | None:
        wish = UserWish(self.job.job_id)
        while True:
            manifest = self._store.read([paths.MANIFEST_PATH]).get(paths.MANIFEST_PATH)
            wanted = wish.look(manifest)
            if not wish.is_in_doubt:
                return wanted
            self._bench.enough.wait(min(self._bench.settings.watch_s, DOUBT_S))

    def _publish(self, ending: Ending) -> JobState | None:
        """Write a final state; used for an ending of this process and of a killed one alike."""
        job_id, state = self.job.job_id, ending.outcome.state
        if state is None:
            return None
        publisher = Publisher(
            self._lease,
            self._store,
            self._bench.ledger,
            self._workspace,
            self._bench.username,
            self._bench.mask,
        )
        try:
            written = publisher.publish(ending, state, self._patience())
        except LeaseLost as lost:
            self._note_loss(lost.reason)
            return None
        except StoreError as error:
            logger.error("the end of job %s could not be written yet: %s", job_id, error)
            return None
        _tell_the_story(self.job, written)
        return written.state

    def _leave(self, outcome: Outcome) -> None:
        """End without a final state: the job is somebody else's, or this worker is stopping."""
        if outcome.reason is not CancelReason.SHUTDOWN:
            self._note_loss(outcome.reason)
            return
        if self.job.mode.trains and self._epochs_completed:
            # Our next start finds the lease in the ledger and goes on from the checkpoint; another
            # box does so once the lease is stale.
            self._interim.save_state(self._bench.enough)
            logger.info("kept job %s, to go on with it after a restart", self.job.job_id)
            return
        reach("release.intended")
        try:
            self._lease.release(self._patience())
        except StoreError as error:
            logger.error("job %s could not be given back: %s", self.job.job_id, error)
            return
        reach("release.acted")
        self._bench.ledger.note(self._store.project, self.job.job_id, Standing.RELEASED)
        reach("release.noted")
        logger.info("gave job %s back; it is pending again", self.job.job_id)

    def _note_loss(self, reason: CancelReason | None) -> None:
        logger.warning(
            "job %s is not ours any more (%s); nothing was written", self.job.job_id, reason
        )
        reach("loss.intended")
        self._bench.ledger.note(self._store.project, self.job.job_id, Standing.LOST)
        reach("loss.noted")

    def _patience(self) -> Patience:
        return Patience(self._bench.settings.publish_s, self._bench.enough)

    @property
    def _epochs_completed(self) -> int | None:
        """What the child has said, or what an earlier attempt had reached where it has said nothing."""
        said = self._service.epochs_completed
        return self._lease.response.epochs_completed if said is None else said

    def _make_interim(self) -> InterimSaves:
        running = Running(
            self._lease,
            self._store,
            self._bench.ledger,
            self._workspace,
            self._bench.mask,
            self._service.status,
            self._heading(),
        )
        settings = self._bench.settings
        return InterimSaves(
            running,
            every_s=settings.checkpoint_upload_s,
            max_bytes=settings.checkpoint_upload_gb * 1e9,
        )

    def _heading(self) -> tuple[str, ...]:
        job = self.job
        return (
            f"Job {job.job_id}{f' ({job.name})' if job.name else ''}: {job.job_type} {job.mode}, "
            f"model {job.model.type}",
            f"Worker {self._lease.response.worker_id}, attempt {self._lease.attempt}, "
            f"started {self._started:%Y-%m-%d %H:%M:%S} UTC on {self._place.device}",
        )


def _closing(outcome: Outcome, ended: ChildExit) -> list[str]:
    """The last lines of the log: what an operator needs to see why it ended."""
    lines: list[str] = []
    if outcome.state is JobState.FAILED and ended.error is not None:
        lines += ["", ended.error.traceback.rstrip()]
    elif outcome.state is JobState.FAILED and ended.detail:
        lines.append(ended.detail)
    usage = ended.usage
    lines.append(
        f"Ended {outcome.state}"
        f"{f': {outcome.error_message}' if outcome.error_message else ''} after "
        f"{usage.wall_s:.0f} s; peak memory {usage.max_rss_bytes / 2**20:.0f} MiB, "
        f"processor time {usage.user_s + usage.system_s:.0f} s"
    )
    return lines


def _tell_the_story(job: Job, outcome: Outcome) -> None:
    detail = outcome.error_message or (outcome.result.summary if outcome.result else None)
    ended = outcome.state.value if outcome.state else str(outcome.reason)
    logger.info("job %s ended: %s%s", job.job_id, ended, f" ({detail})" if detail else "")


def _limits(settings: WorkerSettings, threads: int | None) -> Limits:
    """Standard limits, but an operator in a hurry is not kept waiting after the time of grace."""
    standard, grace_s, memory_gb = Limits(), settings.grace_s, settings.job_memory_gb
    return replace(
        standard,
        grace_s=grace_s,
        term_grace_s=min(standard.term_grace_s, grace_s),
        memory_bytes=None if memory_gb is None else int(memory_gb * GIB),
        progress_timeout_s=settings.progress_s,
        threads=threads,
    )
