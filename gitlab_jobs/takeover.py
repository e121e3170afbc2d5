"""Taking over a job whose owner has gone silent, so that no job stays "running" for ever.

    lease seen at n, too old by the server's clocks ─► move lease/n ─► lease/(n+1)-<our nonce>
    response without a lease (an older worker)      ─► create lease/1-adopt-<blob id of the response seen>

Either names what was seen, so of several thieves one wins, and none if the owner renewed meanwhile. An
owner that never wrote a lease is not fenced by ours; the caller waits a while before it starts.
Beyond the allowed number of attempts the same commit ends the job as failed. Decides nothing by the
worker's own clock except whether looking closer is worth a request.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from gitlab_jobs import paths
from gitlab_jobs.claims import NONCE_BYTES, Claimant
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.errors import AlreadyExists, Conflict, Missing, OutcomeUnknown, StoreError
from gitlab_jobs.job import Job, JobState
from gitlab_jobs.lease import Lease, Patience, token_content
from gitlab_jobs.response import Response, check_transition, dump_response, parse_response
from gitlab_jobs.resume import removal
from gitlab_jobs.store import Change, Create, Delete, FileVersion, Move, ProjectStore, Update

logger = logging.getLogger(__name__)

FOREIGN_LEASE_S = 24 * 3600
"""After this long without a sign, an older worker (one that writes no lease) counts as dead."""
MAX_SKEW_S = 600.0
"""A worker whose clock is further off than this takes nothing over."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A claim that nobody has kept up: what was read, and which lease file it named."""

    job: Job
    seen: Response
    version: FileVersion
    lease_path: str | None


def time_to_live_s(response: Response) -> float:
    """How long a claim counts without being renewed, in seconds; a day where it does not say."""
    return response.lease_seconds if response.lease_seconds is not None else FOREIGN_LEASE_S


def may_be_stale(response: Response, now: datetime) -> bool:
    """A cheap look by the file's own timestamp; one without a readable date is never taken over."""
    if response.is_final or response.timestamp is None:
        return False
    return (now - response.timestamp).total_seconds() > time_to_live_s(response)


def examine(store: ProjectStore, job: Job) -> Stale | None:
    """Look at a claim closely: read it afresh, and judge its age by the server's clocks only."""
    path = paths.response_path(job.job_id)
    version = store.read([path]).get(path)
    seen = parse_response(version.content) if version is not None else None
    if version is None or seen is None or not may_be_stale(seen, datetime.now(UTC)):
        return None
    lease_path = _lease_there(store, job, seen)
    ages = [store.age_s(named) for named in (path, lease_path) if named is not None]
    if any(age is not None and age <= time_to_live_s(seen) for age in ages):
        return None
    return Stale(job, seen, version, lease_path)


def take_over(
    store: ProjectStore, stale: Stale, claimant: Claimant, patience: Patience, max_attempts: int
) -> Lease | None:
    """Make a stale job ours.

    Returns:
        The lease, or None if the job has used up its attempts and was ended as failed.

    Raises:
        AlreadyExists: somebody else was faster, or the owner is alive after all.
        StoreError: as the store says; nothing was changed.
    """
    job, seen = stale.job, stale.seen
    number, nonce, following = _next_name(stale)
    attempts = max(seen.retry_count or 0, seen.attempt or 0, 1)
    gives_up = attempts >= max_attempts
    response = seen.model_copy(
        update=_failed(claimant, attempts)
        if gives_up
        else _claimed(claimant, nonce, following, number, attempts + 1)
    )
    check_transition(seen, response)
    changes = _steal(stale, following, response, gives_up=gives_up)
    if gives_up:
        changes += removal(store, job.job_id)
    verb = "give up" if gives_up else "take over"
    if not gives_up:
        claimant.announce(store.project, job, following, response)
    reach("giveup.intended" if gives_up else "takeover.intended")
    for trial in patience.attempts():
        with trial:
            try:
                store.commit(changes, f"scriptorium: {verb} job {job.job_id}")
            except (AlreadyExists, Conflict, Missing, OutcomeUnknown) as error:
                _settle(store, stale, following, response, error)
    reach("giveup.acted" if gives_up else "takeover.acted")
    logger.warning("%s: job %s of %s, attempt %d", verb, job.job_id, seen.worker_id, attempts)
    if gives_up:
        return None
    return Lease(store, job, lease_path=following, response=response)


def _next_name(stale: Stale) -> tuple[int, str, str]:
    nonce = secrets.token_hex(NONCE_BYTES)
    if stale.lease_path is None:
        name = f"adopt-{stale.version.blob_id}"
        return 1, nonce, paths.lease_path(stale.job.job_id, 1, name)
    found = paths.parse_lease_path(stale.lease_path)
    number = (found.n if found else 0) + 1
    return number, nonce, paths.lease_path(stale.job.job_id, number, nonce)


def _steal(stale: Stale, following: str, response: Response, *, gives_up: bool) -> list[Change]:
    update = Update(stale.version.path, dump_response(response), stale.version.commit_id)
    if stale.lease_path is None:
        guard: list[Change] = [Create(following, token_content(response))]
        if gives_up:
            guard.append(Delete(following))
    elif gives_up:
        guard = [Delete(stale.lease_path)]
    else:
        guard = [Move(stale.lease_path, following, token_content(response))]
    return [*guard, update]


def _claimed(
    claimant: Claimant, nonce: str, lease_path: str, number: int, attempt: int
) -> dict[str, object]:
    return {
        "worker_id": claimant.worker_id,
        "state": JobState.RUNNING,
        "timestamp": datetime.now(UTC),
        "status_message": "Taken over from a worker that went silent",
        "error_message": None,
        "expected_completion": None,
        "claim": nonce,
        "lease": lease_path,
        "lease_n": number,
        "lease_seconds": claimant.lease_s,
        "boot_id": claimant.boot_id,
        "attempt": attempt,
        "retry_count": attempt,
        "progress": None,
    }


def _failed(claimant: Claimant, attempts: int) -> dict[str, object]:
    return {
        "worker_id": claimant.worker_id,
        "state": JobState.FAILED,
        "timestamp": datetime.now(UTC),
        "status_message": None,
        "expected_completion": None,
        "error_message": f"The job was started {attempts} times and never finished; its workers went "
        "silent. Please submit it again, or ask the operator to look into it.",
        "error_code": "RUNNER_INTERRUPTED",
        "claim": secrets.token_hex(NONCE_BYTES),
        "lease": None,
        "lease_n": None,
        "boot_id": claimant.boot_id,
        "progress": None,
    }


def _lease_there(store: ProjectStore, job: Job, seen: Response) -> str | None:
    """The lease file that exists, whatever the response says: a person's sync may have rolled that back.

    Of several (a merge can resurrect one) the named one counts, else the newest.
    """
    found = store.list_folder(paths.lease_folder(job.job_id))
    if seen.lease in found:
        return seen.lease
    named = [(name.n, path) for path in found if (name := paths.parse_lease_path(path))]
    return max(named)[1] if named else None


def _settle(
    store: ProjectStore, stale: Stale, following: str, response: Response, error: StoreError
) -> None:
    """Return if the take-over is ours after all; raise `AlreadyExists` if it never can be."""
    found = store.read([stale.version.path, following, *filter(None, [stale.lease_path])])
    there = found.get(stale.version.path)
    current = parse_response(there.content) if there is not None else None
    if current is not None and current.claim == response.claim:
        return
    is_as_seen = there is not None and there.blob_id == stale.version.blob_id
    is_held_as_seen = stale.lease_path in found if stale.lease_path else following not in found
    if is_as_seen and is_held_as_seen:
        raise Conflict(f"the branch moved; job {stale.job.job_id} is as stale as it was") from error
    raise AlreadyExists(f"job {stale.job.job_id} is somebody else's") from error
