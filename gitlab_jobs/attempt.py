"""One attempt at one leased job: child, heartbeat, service and outbox brought together, then the end.

    lease ─► workspace ─► child process ◄── requests ── service (bytes, models, outbox)
                │             │ ended
                │ heartbeat ──┤ cancel, removal, theft, timeout
                ▼             ▼
             logs.txt ──► outcome ──► one final commit (results, response, lease gone)

The child is started and awaited here; nothing here knows what a handler does. The heartbeat keeps the
lease fresh until the final commit begins, because uploads and log writing take time too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

from gitlab_jobs import job_child, paths
from gitlab_jobs.callbacks import JobContext
from gitlab_jobs.errors import LeaseLost, StoreError
from gitlab_jobs.heartbeat import Heartbeat
from gitlab_jobs.job import CancelReason, Job, JobState
from gitlab_jobs.joblog import compose_log
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.outbox import Outbox
from gitlab_jobs.outcome import Outcome, judge
from gitlab_jobs.response import ResponseResult
from gitlab_jobs.service import JobService, Site
from gitlab_jobs.settings import WorkerSettings
from gitlab_jobs.store import Change, Create, ProjectStore, Update
from gitlab_jobs.workspace import open_workspace
from runner.child_process import ChildProcess, ChildSpec, Limits
from runner.verdict import ChildExit

logger = logging.getLogger(__name__)

CHILD_ENTRY = "gitlab_jobs.job_child:run"
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Bench:
    """What every attempt of this daemon shares.

    `username` is the account's name, the author of edits. `loader` names the function that finds a
    handler. `enough` is set when even final writes must stop being tried.
    """

    settings: WorkerSettings
    username: str
    loader: str
    device: str
    mask: Callable[[bytes], bytes]
    enough: Event
    child_environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def cache_dir(self) -> Path:
        """Objects and models shared by all jobs of this box."""
        return self.settings.work_dir.resolve() / "cache"


class Attempt:
    """Runs once, from a lease to the end of it."""

    def __init__(self, lease: Lease, store: ProjectStore, bench: Bench) -> None:
        """Prepare the job's directory; nothing is started yet."""
        self._lease = lease
        self._store = store
        self._bench = bench
        self._asked_to_stop: CancelReason | None = None
        self._started = datetime.now(UTC)
        self._workspace = open_workspace(bench.settings.work_dir, lease.job.job_id)
        self._outbox = Outbox(store)
        site = Site(
            username=bench.username,
            device=bench.device,
            cache_dir=bench.cache_dir,
            scratch=self._workspace.scratch,
            families=bench.settings.models,
        )
        self._service = JobService(lease.job, store, self._outbox, site)
        self._child = ChildProcess(
            self._spec(),
            serve=self._service.serve,
            on_progress=self._service.note_progress,
            mask=bench.mask,
        )

    @property
    def job(self) -> Job:
        """The job at hand."""
        return self._lease.job

    def stop(self, reason: CancelReason) -> None:
        """Tell the child to save what it can and end; the first reason stays. Returns at once."""
        if self._asked_to_stop is None:
            logger.info("stopping job %s: %s", self.job.job_id, reason)
            self._asked_to_stop = reason
            self._service.stop(reason)
            self._child.cancel(reason.value)

    def run(self, tick: Callable[[], CancelReason | None]) -> JobState | None:
        """Run the job to its end and publish that.

        Args:
            tick: called twice a second until the end is written; a reason it returns stops the job.

        Returns:
            The final state on the branch, or None if the job is not (or no longer) ours to end.
        """
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
        heartbeat.start()
        ended = self._await_child(tick)
        # Writing the end may take hours of trying; the loop's own life signs must not wait for it.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="publisher") as publisher:
            written = publisher.submit(self._end, heartbeat, ended)
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
            device=self._bench.device,
            environment=self._bench.child_environment,
            limits=Limits(grace_s=self._bench.settings.grace_s),
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

    def _end(self, heartbeat: Heartbeat, ended: ChildExit) -> JobState | None:
        heartbeat.stop()
        return self._conclude(judge(ended, self._asked_to_stop), ended)

    def _conclude(self, outcome: Outcome, ended: ChildExit) -> JobState | None:
        job_id = self.job.job_id
        try:
            if outcome.state is not None:
                self._publish(outcome, ended)
            elif outcome.reason is CancelReason.SHUTDOWN:
                self._lease.release(Patience(self._bench.settings.publish_s, self._bench.enough))
                logger.info("gave job %s back; it is pending again", job_id)
        except LeaseLost as lost:
            logger.warning(
                "job %s is not ours any more (%s); nothing was written", job_id, lost.reason
            )
            return None
        except StoreError as error:
            logger.error("the end of job %s could not be written: %s", job_id, error)
            return None
        _tell_the_story(self.job, outcome)
        return outcome.state

    def _publish(self, outcome: Outcome, ended: ChildExit) -> None:
        def compose() -> list[Change]:
            changes = self._outbox.compose(
                self._service.edit_context(),
                files=outcome.publishes_files,
                cells=outcome.publishes_cells,
            )
            if outcome.publishes_log:
                changes += self._log_change(outcome, ended)
            return changes

        patience = Patience(self._bench.settings.publish_s, self._bench.enough)
        self._lease.finish(
            compose, patience, _required(outcome.state), **self._final_fields(outcome)
        )

    def _final_fields(self, outcome: Outcome) -> dict[str, Any]:
        result = outcome.result
        epochs = result.epochs_completed if result else None
        made = ResponseResult(
            checkpoint_path=result.checkpoint_path if result else None,
            extra=dict(result.facts) if result else {},
        )
        return {
            "epochs_completed": epochs if epochs is not None else self._service.epochs_completed,
            "status_message": result.summary if result else None,
            "error_message": outcome.error_message,
            "error_code": outcome.error_code,
            "termination_reason": outcome.reason.value if outcome.reason else None,
            "result": made if result else None,
        }

    def _log_change(self, outcome: Outcome, ended: ChildExit) -> list[Change]:
        path = paths.logs_path(self.job.job_id)
        content = self._bench.mask(
            compose_log(self._heading(), self._workspace.log_path, self._ending(outcome, ended))
        )
        found = self._store.read([path]).get(path)
        return [Create(path, content) if found is None else Update(path, content, found.commit_id)]

    def _heading(self) -> list[str]:
        job = self.job
        return [
            f"Job {job.job_id}{f' ({job.name})' if job.name else ''}: {job.job_type} {job.mode}, "
            f"model {job.model.type}",
            f"Worker {self._lease.response.worker_id}, attempt {self._lease.attempt}, "
            f"started {self._started:%Y-%m-%d %H:%M:%S} UTC on {self._bench.device}",
        ]

    def _ending(self, outcome: Outcome, ended: ChildExit) -> list[str]:
        lines = [f"Left out: {reason}" for reason in self._outbox.dropped]
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


def _required(state: JobState | None) -> JobState:
    if state is None:
        raise ValueError("only an outcome with a state is published")
    return state


def _tell_the_story(job: Job, outcome: Outcome) -> None:
    detail = outcome.error_message or (outcome.result.summary if outcome.result else None)
    ended = outcome.state.value if outcome.state else str(outcome.reason)
    logger.info("job %s ended: %s%s", job.job_id, ended, f" ({detail})" if detail else "")
