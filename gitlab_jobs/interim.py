"""What a long job leaves in its folder while it runs: its log, its loss curve, and a training's state.

    every hour   newest state ─► one file ─► large object ┐
                 log, curve, status ──────────────────────┴─► a renewal of the lease that carries them

A thread beside the heartbeat. It holds the lease for the one commit only, so renewals go on while bytes
are packed and sent. Whatever goes wrong is told in the daemon's log and tried again an interval later;
the job does not notice. A state is packed and sent only if it is a new one, and only as often as the room
that a job may take up on the server allows. Knows no child and no model.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from gitlab_jobs import paths
from gitlab_jobs.composition import put_files
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.errors import LeaseLost, StoreError
from gitlab_jobs.heartbeat import Status
from gitlab_jobs.joblog import compose_log
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.ledger import Ledger
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.object_cache import hash_file
from gitlab_jobs.store import Change, ProjectStore
from gitlab_jobs.training_state import About, Found, find_state, pack, read_curve
from gitlab_jobs.workspace import Workspace

logger = logging.getLogger(__name__)

ARCHIVE = "resume.tar"
PATIENCE_S = 300.0
STOP_S = 5.0
"""How long an end waits for a transfer that hangs; what comes of it later is not committed."""


@dataclass(frozen=True, slots=True)
class Running:
    """One attempt as seen from here; `heading` are the first lines of its log."""

    lease: Lease
    store: ProjectStore
    ledger: Ledger
    workspace: Workspace
    mask: Callable[[bytes], bytes]
    status: Callable[[], Status]
    heading: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Sent:
    name: str
    pointer: Pointer


class InterimSaves:
    """Owns the thread. `start`, then `stop`; `save_state` is for the last moment of a box."""

    def __init__(self, running: Running, *, every_s: float, max_bytes: float) -> None:
        """Save every `every_s` seconds, never if that is 0; all states together fit `max_bytes`."""
        self._running = running
        self._every_s = every_s
        self._max_bytes = max_bytes
        self._saved: str | None = None
        self._sent_s = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="interim", daemon=True)

    def start(self) -> None:
        """Begin to count the time."""
        if self._every_s:
            self._thread.start()

    def stop(self) -> None:
        """End the thread; what it was sending is dropped, a commit under way is finished."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def save_state(self, enough: threading.Event) -> None:
        """Save at once, after `stop`, if there is a state that was not saved yet."""
        found = find_state(self._running.workspace.training)
        if self._every_s and found is not None and found.name != self._saved:
            self._save(enough, is_last=True)

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            self._save(self._ended)

    def _save(self, enough: threading.Event, *, is_last: bool = False) -> None:
        lease, job_id = self._running.lease, self._running.lease.job.job_id
        sent = self._try_to_send(enough, is_last=is_last)
        if enough.is_set():
            return
        fields = self._running.status().fields
        try:
            lease.renew(Patience(PATIENCE_S, enough), partial(self._changes, sent), **fields)
        except LeaseLost as lost:
            logger.info("nothing was saved of job %s: %s", job_id, lost)
            return
        except StoreError as error:
            if not enough.is_set():
                logger.warning("could not save job %s now, going on: %s", job_id, error)
            return
        reach("save.acted")
        if sent is not None:
            self._saved = sent.name
            self._running.ledger.saved_state(self._running.store.project, job_id, sent.pointer)
            reach("save.noted")
            logger.info("saved %s of job %s for other boxes", sent.name, job_id)

    def _try_to_send(self, enough: threading.Event, *, is_last: bool) -> _Sent | None:
        """Whatever hinders it, the log and the curve need not wait."""
        try:
            return self._send(enough, is_last=is_last)
        except (StoreError, OSError) as error:
            if not enough.is_set():
                job_id = self._running.lease.job.job_id
                logger.warning("could not send the state of job %s, going on: %s", job_id, error)
            return None

    def _send(self, enough: threading.Event, *, is_last: bool) -> _Sent | None:
        """Send the training's newest state if it is time; its pointer is committed next."""
        running, home = self._running, self._running.workspace.training
        found = find_state(home)
        if found is None or found.name == self._saved or not self._is_due(found, is_last=is_last):
            return None
        job_id, archive = running.lease.job.job_id, running.workspace.root / ARCHIVE
        about = About(job_id, str(running.lease.response.worker_id))
        go_on = partial(_stop_if, enough)
        try:
            name = pack(home, about, archive, go_on)
            if name is None:
                logger.warning("no state of job %s is whole; none was saved", job_id)
                return None
            pointer = hash_file(archive)
            running.ledger.saving_state(running.store.project, job_id, pointer)
            reach("save.intended")
            running.store.send_objects({archive}, lambda _done, _total: go_on())
            reach("save.sent")
        finally:
            archive.unlink(missing_ok=True)
        self._sent_s = time.monotonic()
        return _Sent(name, pointer)

    def _is_due(self, found: Found, *, is_last: bool) -> bool:
        """Whether the disk and the server have room for one more, and for those that will follow it."""
        running = self._running
        job_id = running.lease.job.job_id
        free = shutil.disk_usage(running.workspace.root).free
        if free < 2 * found.size:
            logger.warning("the disk has no room to pack the state of job %s", job_id)
            return False
        taken = running.ledger.sent_bytes(running.store.project, job_id)
        left = int((self._max_bytes - taken) // found.size)
        if left < 1:
            logger.info("job %s has sent all the states it may", job_id)
            return False
        end = running.status().fields.get("expected_completion")
        remaining_s = (end - datetime.now(UTC)).total_seconds() if end is not None else 0.0
        gap_s = max(self._every_s, remaining_s / (left + 1))
        return is_last or time.monotonic() - self._sent_s >= gap_s

    def _changes(self, sent: _Sent | None) -> Sequence[Change]:
        """Log, curve and pointer as changes to the files that are there now."""
        job_id = self._running.lease.job.job_id
        texts = {paths.logs_path(job_id): self._log()}
        curve = read_curve(self._running.workspace.training)
        if curve is not None:
            texts[paths.metrics_path(job_id)] = curve
        pointers = {} if sent is None else {paths.resume_path(job_id): sent.pointer}
        present = self._running.store.read([*texts, *pointers])
        reach("save.composed")
        return put_files(pointers, texts, present)

    def _log(self) -> str:
        now = f"Still running at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        log = compose_log(self._running.heading, self._running.workspace.log_path, [now])
        return self._running.mask(log).decode("utf-8", "replace")


def _stop_if(enough: threading.Event) -> None:
    if enough.is_set():
        raise StoreError("the job has ended meanwhile")
