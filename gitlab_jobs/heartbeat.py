"""The heartbeat: a thread beside one attempt that keeps the lease fresh and notices that it must stop.

Two rhythms. A *look* is a cheap read (manifest, response, lease) every `watch_s` seconds: cancel, removal
and take-over are seen there. A *renewal* is a commit, written on a stage change and every
`heartbeat_s`, from a token bucket that allows 12 an hour at the default of 300 s.

Knows nothing of the child or its work: `status` tells what to report, `on_stop` is called once with the
reason. A server that does not answer is not a reason; the lease itself decides when the job ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gitlab_jobs import paths
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.errors import LeaseLost, StoreError
from gitlab_jobs.job import CancelReason
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.response import parse_response
from gitlab_jobs.store import ProjectStore
from gitlab_jobs.wishes import UserWish

logger = logging.getLogger(__name__)

STAGE_GAP_S = 60.0
"""A stage change is committed at once unless the last renewal is younger than this."""
DOUBT_S = 10.0
"""The second look at an entry that seems to be gone comes this soon."""
BURST = 4
REFILL = 1.5
"""With one token every 1.5 heartbeats and 4 at the start, no hour sees more than 12 at 300 s."""


class Pace:
    """When the next renewal commit is due; clock values in seconds from any fixed start."""

    def __init__(self, heartbeat_s: float, now_s: float) -> None:
        """Start right after the claim, which counts as a renewal."""
        self._heartbeat_s = heartbeat_s
        self._last_s = now_s
        self._tokens = float(BURST)
        self._filled_s = now_s

    def is_due(self, now_s: float, *, stage_changed: bool) -> bool:
        """Whether to renew now."""
        self._tokens = min(
            BURST, self._tokens + (now_s - self._filled_s) / (REFILL * self._heartbeat_s)
        )
        self._filled_s = now_s
        gap = min(STAGE_GAP_S, self._heartbeat_s) if stage_changed else self._heartbeat_s
        return self._tokens >= 1 and now_s - self._last_s >= gap

    def spend(self, now_s: float) -> None:
        """Record a renewal."""
        self._tokens -= 1
        self._last_s = now_s


@dataclass(frozen=True, slots=True)
class Status:
    """What an attempt has to tell: fields of the response, and the stage they belong to."""

    stage: str | None
    fields: Mapping[str, Any]


class Heartbeat:
    """Owns the thread. `start`, then `stop`, which joins it."""

    def __init__(
        self,
        lease: Lease,
        store: ProjectStore,
        *,
        watch_s: float,
        heartbeat_s: float,
        status: Callable[[], Status],
        on_stop: Callable[[CancelReason], None],
    ) -> None:
        """Nothing runs before `start`."""
        self._lease = lease
        self._store = store
        self._watch_s = watch_s
        self._pace = Pace(heartbeat_s, time.monotonic())
        self._status = status
        self._on_stop = on_stop
        self._wish = UserWish(lease.job.job_id)
        self._told = False
        self._stage: str | None = None
        self._number = lease.response.lease_n or 0
        self._ended = threading.Event()
        self._patience = Patience(total_s=heartbeat_s, enough=self._ended)
        self._turned_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin looking and renewing."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a renewal under way is finished first."""
        self._ended.set()
        self._thread.join()

    @property
    def turned_s(self) -> float:
        """Monotonic time of the last completed turn, for the watchdog."""
        return self._turned_s

    def turn(self, now_s: float) -> None:
        """Look once, and renew if it is time; never raises for a store's faults."""
        if self._lease.is_over:
            return
        try:
            self._note_renewals(now_s)
            reason = self._look()
            if reason is not None:
                self._tell(reason)
            elif self._pace.is_due(now_s, stage_changed=self._status().stage != self._stage):
                self._renew(now_s)
        except LeaseLost as lost:
            self._tell(lost.reason)
        except StoreError as error:
            logger.warning("could not look after the lease, going on: %s", error)

    def _run(self) -> None:
        # The first look is at once: the job may have been canceled while it was being claimed.
        while not self._ended.is_set():
            try:
                self.turn(time.monotonic())
            except Exception:  # named boundary: a dead heartbeat ends the attempt
                logger.exception("the heartbeat broke; the job is handed back")
                self._tell(CancelReason.SHUTDOWN)
                return
            self._turned_s = time.monotonic()
            in_doubt = self._wish.is_in_doubt
            self._ended.wait(min(self._watch_s, DOUBT_S) if in_doubt else self._watch_s)

    def _look(self) -> CancelReason | None:
        job = self._lease.job
        if job.timeout is not None and datetime.now(UTC) >= job.timeout:
            return CancelReason.TIMEOUT
        response_path, lease_path = paths.response_path(job.job_id), self._lease.path
        found = self._store.read([paths.MANIFEST_PATH, response_path, lease_path])
        if response_path not in found:
            return CancelReason.FOLDER_DELETED
        there = parse_response(found[response_path].content)
        if there is not None and there.worker_id != self._lease.response.worker_id:
            return CancelReason.LEASE_LOST
        if lease_path not in found and not self._was_renewed():
            return CancelReason.LEASE_LOST
        return self._wish.look(found.get(paths.MANIFEST_PATH))

    def _was_renewed(self) -> bool:
        """Whether the lease has only got another name, from a commit of ours beside this look."""
        leases = self._store.list_folder(paths.lease_folder(self._lease.job.job_id))
        names = [paths.parse_lease_path(path) for path in leases]
        return any(name is not None and name.nonce == self._lease.response.claim for name in names)

    def _renew(self, now_s: float) -> None:
        status = self._status()
        reach("renew.intended")
        self._lease.renew(self._patience, **status.fields)
        reach("renew.acted")
        self._stage = status.stage
        self._note_renewals(now_s)

    def _note_renewals(self, now_s: float) -> None:
        """A commit with interim results has renewed the lease as well: that one need not be repeated."""
        number = self._lease.response.lease_n or 0
        if number > self._number:
            self._number = number
            self._pace.spend(now_s)

    def _tell(self, reason: CancelReason) -> None:
        # What a look finds of a job that was ended meanwhile is our own doing.
        if not self._told and not self._lease.is_over:
            self._told = True
            self._on_stop(reason)
