"""Claiming a job: making its `response.yaml` and lease file where none were, in one commit.

Also the two answers that need no work: acknowledging a job that was canceled before it began, and
refusing an entry that cannot be run. Creation is the lock, so each happens once among all workers.
Knows no queue: `scanner` finds candidates, `worker` decides.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from gitlab_jobs import paths
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.errors import AlreadyExists, Conflict, Missing, OutcomeUnknown
from gitlab_jobs.job import CancelReason, Job, JobState
from gitlab_jobs.lease import Lease, Patience, token_content
from gitlab_jobs.response import Response, check_transition, dump_response
from gitlab_jobs.store import Change, Create, Delete, ProjectRef, ProjectStore

logger = logging.getLogger(__name__)

NONCE_BYTES = 16


Announce = Callable[[ProjectRef, Job, str, Response], None]
"""Told the lease path and the response before a claim is tried (`Ledger.claiming`)."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims: `boot_id` tells two runs of the same worker apart; `lease_s` is the time to live."""

    worker_id: str
    boot_id: str
    lease_s: int
    announce: Announce


def claim(
    store: ProjectStore, job: Job, claimant: Claimant, patience: Patience, *, attempt: int = 1
) -> Lease:
    """Make a pending job ours, or say that it is not to be had.

    Raises:
        AlreadyExists: somebody else holds it (or held it before).
        Forbidden, Denied, Unavailable: as the store says; nothing was claimed.
    """
    nonce = secrets.token_hex(NONCE_BYTES)
    lease_path = paths.lease_path(job.job_id, 1, nonce)
    response = Response(
        worker_id=claimant.worker_id,
        state=JobState.RUNNING,
        timestamp=datetime.now(UTC),
        epochs_completed=0 if job.mode.trains else None,
        status_message="Claimed; getting ready",
        claim=nonce,
        lease=lease_path,
        lease_n=1,
        lease_seconds=claimant.lease_s,
        boot_id=claimant.boot_id,
        attempt=attempt,
        retry_count=attempt,
    )
    check_transition(None, response)
    changes: list[Change] = [
        Create(paths.response_path(job.job_id), dump_response(response)),
        Create(lease_path, token_content(response)),
    ]
    claimant.announce(store.project, job, lease_path, response)
    reach("claim.intended")
    for trial in patience.attempts():
        with trial:
            try:
                # Left over where a person deleted response.yaml by hand: its owner must not come back.
                leftovers = store.list_folder(paths.lease_folder(job.job_id))
                cleared = [Delete(path) for path in leftovers if path != lease_path]
                store.commit([*changes, *cleared], f"scriptorium: claim job {job.job_id}")
            except (AlreadyExists, Missing, OutcomeUnknown) as error:
                _settle_claim(store, job, lease_path, error)
    reach("claim.acted")
    logger.info("claimed job %s in %s, attempt %d", job.job_id, store.project.path, attempt)
    return Lease(store, job, lease_path=lease_path, response=response)


def acknowledge_cancel(store: ProjectStore, job_id: str, claimant: Claimant) -> None:
    """Answer a job that its user canceled before anybody started it, so that it stops pending.

    Raises:
        AlreadyExists: somebody answered or claimed it already.
    """
    response = Response(
        worker_id=claimant.worker_id,
        state=JobState.CANCELED,
        timestamp=datetime.now(UTC),
        termination_reason=CancelReason.USER_CANCELED.value,
    )
    reach("acknowledge.intended")
    _answer(store, job_id, response)
    reach("acknowledge.acted")


def refuse(store: ProjectStore, job_id: str, message: str, claimant: Claimant) -> None:
    """Answer an entry that can never run with `failed` and the reason.

    Raises:
        AlreadyExists: somebody answered it already.
    """
    response = Response(
        worker_id=claimant.worker_id,
        state=JobState.FAILED,
        timestamp=datetime.now(UTC),
        error_message=f"This job cannot be run: {message}.",
        error_code="MANIFEST_INVALID",
    )
    reach("refuse.intended")
    _answer(store, job_id, response)
    reach("refuse.acted")


def _answer(store: ProjectStore, job_id: str, response: Response) -> None:
    path = paths.response_path(job_id)
    check_transition(None, response)
    store.commit(
        [Create(path, dump_response(response))], f"scriptorium: {response.state} job {job_id}"
    )
    logger.info("answered job %s in %s: %s", job_id, store.project.path, response.state)


def _settle_claim(
    store: ProjectStore,
    job: Job,
    lease_path: str,
    error: AlreadyExists | Missing | OutcomeUnknown,
) -> None:
    """Return if the claim is ours after all (a lost reply met by its retry); else raise."""
    response_path = paths.response_path(job.job_id)
    found = store.read([response_path, lease_path])
    if lease_path in found:
        return
    if response_path in found:
        raise AlreadyExists(f"job {job.job_id} is somebody else's") from error
    if isinstance(error, OutcomeUnknown):
        raise error
    # Somebody came and went: a leftover is gone that we named, or a response that was in our way.
    raise Conflict(f"the folder of job {job.job_id} has changed") from error
