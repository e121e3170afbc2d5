"""A lease: the proof that one job is ours, and the only hand that writes its files.

The proof is a file *name*, `gpu_jobs/job_<id>/lease/<n>-<nonce>.yaml`. `n` grows with every claim,
renewal and take-over, the nonce is drawn anew by every owner, so a name never comes back. Every write
names the current file in the same commit; a writer that was deposed can therefore change nothing.
(Protocol: create, move, delete and chmod check existence in the very tree the branch moves from.)

    claim ──► renew ──► renew ──► … ──► finish        results, final response, lease gone: one commit
      │                    └─ name gone: LeaseLost    (taken over, or the folder was deleted)
      └─ response.yaml exists: AlreadyExists          (somebody else's)

Knows no handler and no process. Called by the keeper thread and the publisher of one attempt, which it
serialises. Retries passing faults itself, because only it can tell its own success from a loss.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_any,
    stop_when_event_set,
    wait_random_exponential,
)

from gitlab_jobs import paths
from gitlab_jobs.errors import (
    AlreadyExists,
    Conflict,
    LeaseLost,
    Missing,
    OutcomeUnknown,
    StoreError,
    Unavailable,
)
from gitlab_jobs.job import CancelReason, Job, JobState
from gitlab_jobs.publication import marked, new_mark
from gitlab_jobs.response import Response, check_transition, dump_response, parse_response
from gitlab_jobs.store import (
    Change,
    Committed,
    Delete,
    Guard,
    Move,
    ProjectStore,
    Update,
)
from gitlab_jobs.yaml_text import dump_yaml

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a write is tried again; `enough` ends the trying early, also in mid-sleep."""

    total_s: float
    enough: threading.Event
    longest_wait_s: float = 60.0

    def attempts(self) -> Retrying:
        """Try until `total_s` has passed, with full jitter; collisions and outages only."""
        return Retrying(
            retry=retry_if_exception_type((Conflict, Unavailable)),
            wait=wait_random_exponential(multiplier=0.25, max=self.longest_wait_s),
            stop=stop_any(stop_after_delay(self.total_s), stop_when_event_set(self.enough)),
            sleep=sleep_using_event(self.enough),
            before_sleep=_log_retry,
            reraise=True,
        )


class Lease:
    """One claimed job. Made by `claims.claim`; safe to use from several threads."""

    def __init__(
        self, store: ProjectStore, job: Job, *, lease_path: str, response: Response
    ) -> None:
        """Take up a lease that is known to be ours; use `claims.claim` to get one."""
        self._store = store
        self._lock = threading.Lock()
        self._path = lease_path
        self._response = response
        self._is_over = False
        self.job = job

    @property
    def response(self) -> Response:
        """The last response that we know to be on the branch."""
        return self._response

    @property
    def path(self) -> str:
        """The current lease file."""
        return self._path

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._response.attempt or 1

    @property
    def is_over(self) -> bool:
        """Whether the job was ended or given back: there is nothing left to renew."""
        return self._is_over

    def renew(
        self, patience: Patience, compose: Callable[[], Sequence[Change]] = tuple, **fields: Any
    ) -> None:
        """Move the lease to its next name and refresh `response.yaml` with these fields.

        Args:
            patience: how long to keep trying.
            compose: makes changes that belong into the same commit; called again after a collision.
            fields: new values of the response.

        Raises:
            LeaseLost: somebody took over, or the job's folder is gone.
            StoreError: it could not be done within `patience`; the lease still stands.
        """

        def step() -> _Step:
            if self._is_over:
                return _Step("renew", (), self._response, None, self._path)
            composed = tuple(compose())
            number = (self._response.lease_n or 1) + 1
            following = paths.lease_path(self.job.job_id, number, str(self._response.claim))
            response = _stamped(self._response, lease=following, lease_n=number, **fields)
            moved = Move(self._path, following, token_content(response))
            changes = (*composed, moved, self._update(response))
            verb = "save" if composed else "renew"
            return _Step(verb, changes, response, following, self._path)

        self._write(step, patience, new_mark())

    def publish_part(
        self, compose: Callable[[], Sequence[Change]], patience: Patience, part: str, mark: str = ""
    ) -> Committed | None:
        """Publish some of the results of a large job ahead of its end, as the owner or not at all.

        Args:
            compose: makes the changes from the newest files; none of them means it is done already.
            patience: how long to keep trying.
            part: what it is, in words for the commit message.
            mark: by which the commit can be found again.

        Returns:
            The commit; None if the last try found nothing to do, be it thanks to an earlier one.

        Raises:
            LeaseLost: nothing was and nothing will be published.
            StoreError: it could not be done within `patience`.
        """

        def step() -> _Step:
            composed = compose()
            guarded = (*composed, Guard(self._path)) if composed else ()
            trace = composed[0].path if composed else self._path
            return _Step(f"publish {part} of", guarded, self._response, self._path, trace)

        return self._write(step, patience, mark or new_mark())

    def finish(
        self,
        compose: Callable[[], Sequence[Change]],
        patience: Patience,
        state: JobState,
        mark: str = "",
        **fields: Any,
    ) -> Committed | None:
        """Publish results, the final response and the lease's end in one commit.

        Args:
            compose: makes the result changes from the newest files; called again after a collision.
            patience: how long to keep trying.
            state: the final state.
            mark: by which the commit can be found again.
            fields: further fields of the response.

        Returns:
            The commit, also if its reply was lost.

        Raises:
            LeaseLost: nothing was and nothing will be published.
            StoreError: it could not be done within `patience`; nothing was published.
        """

        def step() -> _Step:
            composed = compose()
            response = _stamped(
                self._response, state=state, lease=None, lease_n=None, progress=None, **fields
            )
            changes = (*composed, self._update(response), Delete(self._path))
            return _Step(f"finish ({state})", changes, response, None, self._path)

        return self._write(step, patience, mark or new_mark())

    def release(self, patience: Patience) -> None:
        """Give the job back: it becomes pending again, with nothing left behind."""

        def step() -> _Step:
            left = self._store.read(paths.interim_paths(self.job.job_id))
            changes = [Delete(path) for path in (self._response_path, self._path, *left)]
            return _Step("release", changes, self._response, None, self._path)

        try:
            self._write(step, patience, new_mark())
        except LeaseLost as lost:
            # A folder that a person deleted leaves nothing to give back.
            if lost.reason is not CancelReason.FOLDER_DELETED:
                raise
            self._is_over = True

    @property
    def _response_path(self) -> str:
        return paths.response_path(self.job.job_id)

    def _update(self, response: Response) -> Update:
        return Update(self._response_path, dump_response(response))

    def _write(
        self, make_step: Callable[[], _Step], patience: Patience, mark: str
    ) -> Committed | None:
        """Carry out a step; None if its last try had nothing to do.

        The lock is held for one try at a time: while a final commit waits for the server to come back,
        the heartbeat goes on renewing, and the next try starts from the name it left.
        """
        committed: Committed | None = None
        for attempt in patience.attempts():
            with attempt, self._lock:
                step = make_step()
                check_transition(self._response, step.response)
                if step.changes:
                    committed = self._try(step, mark)
                self._response = step.response
                self._is_over = step.following is None
                self._path = step.following or self._path
        return committed

    def _try(self, step: _Step, mark: str) -> Committed:
        message = marked(f"scriptorium: {step.verb} job {self.job.job_id}", mark)
        try:
            return self._store.commit(step.changes, message)
        except (AlreadyExists, Missing, OutcomeUnknown) as error:
            return self._read_back(step, mark, error)

    def _read_back(self, step: _Step, mark: str, error: StoreError) -> Committed:
        """Return the step's commit if it happened; else say whether trying again makes sense."""
        done = self._store.last_commit(step.trace, mark)
        if done is not None:
            return done
        found = self._store.read({self._response_path, self._path})
        if self._response_path not in found:
            raise LeaseLost(CancelReason.FOLDER_DELETED) from error
        if self._path in found:
            raise Conflict(f"{step.verb} did not happen; the lease still stands") from error
        if step.response.is_final:
            end = find_end(self._store, self.job.job_id, str(self._response.claim))
            if end is not None:  # a predecessor's, which was killed before it could know
                return end.commit
        self._find_again()
        raise LeaseLost(CancelReason.LEASE_LOST) from error

    def _find_again(self) -> None:
        """Go on from the name that a renewal of ours has left without our hearing of it.

        Raises:
            Conflict: there is one; the step has to be made anew.
        """
        for path in self._store.list_folder(paths.lease_folder(self.job.job_id)):
            name = paths.parse_lease_path(path)
            if name is not None and name.nonce == self._response.claim:
                self._path = path
                self._response = self._response.model_copy(
                    update={"lease": path, "lease_n": name.n}
                )
                raise Conflict("an earlier renewal happened after all; going on from it")


@dataclass(frozen=True, slots=True)
class _Step:
    """One guarded commit, and what is true after it: the response, and the lease's name (None: over).

    `trace` is a path that the commit changes.
    """

    verb: str
    changes: Sequence[Change]
    response: Response
    following: str | None
    trace: str


@dataclass(frozen=True, slots=True)
class End:
    """A job's final response and the commit that wrote it."""

    commit: Committed
    response: Response


def find_end(store: ProjectStore, job_id: str, claim: str) -> End | None:
    """The end that the owner with this nonce wrote, if the commit that removed the last lease did.

    So it is found even where a person's sync has rolled the file back since.
    """
    removal = store.last_commit(paths.lease_folder(job_id))
    if removal is None:
        return None
    path = paths.response_path(job_id)
    version = store.read([path], removal.id).get(path)
    written = parse_response(version.content) if version is not None else None
    if written is None or written.claim != claim or not written.is_final:
        return None
    return End(removal, written)


def token_content(response: Response) -> bytes:
    """The text of a lease file: who holds it, for people; its name is what counts."""
    record = {"worker_id": response.worker_id, "nonce": response.claim, "n": response.lease_n}
    return dump_yaml(record)


def _stamped(response: Response, **fields: Any) -> Response:
    return response.model_copy(update={"timestamp": datetime.now(UTC), **fields})


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.info("a write did not go through, trying again: %s", error)
