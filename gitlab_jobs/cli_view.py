"""What `list`, `status` and `explain` say of a project's jobs: facts from manifest and responses, in words.

Reads through the store port and decides nothing. Knows no command line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gitlab_jobs.errors import HandlerNotFound
from gitlab_jobs.job import Job
from gitlab_jobs.manifest import Manifest, order_key, parse_manifest
from gitlab_jobs.paths import MANIFEST_PATH, response_path
from gitlab_jobs.response import Response, parse_response
from gitlab_jobs.store import ProjectStore
from gitlab_jobs.takeover import may_be_stale, time_to_live_s

FindHandler = Callable[[Job], object]
"""Raises `HandlerNotFound` if no worker with these handlers could run the job."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """A project's jobs as of one look; `responses` has those that somebody answered."""

    manifest: Manifest
    responses: dict[str, Response]

    def find(self, job_id: str) -> Job | None:
        """The readable entry of this id."""
        return next((job for job in self.manifest.jobs if job.job_id == job_id), None)

    def state(self, job_id: str) -> str:
        """As the editor shows it."""
        response = self.responses.get(job_id)
        if response is None:
            return "pending"
        return response.state.value if response.state else "unknown"


def look(store: ProjectStore) -> Jobs:
    """Read the manifest and every response.

    Raises:
        ManifestError: the manifest as a whole cannot be read.
    """
    found = store.read([MANIFEST_PATH]).get(MANIFEST_PATH)
    manifest = parse_manifest(found.content if found else b"version: 1\njobs: []\n")
    by_path = {response_path(job.job_id): job.job_id for job in manifest.jobs}
    files = store.read(by_path) if by_path else {}
    responses = {
        by_path[path]: parse_response(version.content) or Response()
        for path, version in files.items()
    }
    return Jobs(manifest, responses)


def rows(jobs: Jobs) -> list[dict[str, Any]]:
    """One plain mapping for each entry, in the order in which they would run."""
    return [row(jobs, job) for job in sorted(jobs.manifest.jobs, key=order_key)]


def row(jobs: Jobs, job: Job) -> dict[str, Any]:
    """What there is to know of one job at a glance."""
    response = jobs.responses.get(job.job_id) or Response()
    return {
        "job_id": job.job_id,
        "name": job.name,
        "kind": f"{job.job_type} {job.mode}",
        "model": job.model.type,
        "state": jobs.state(job.job_id) + (" (canceling)" if _is_canceling(jobs, job) else ""),
        "epochs": f"{response.epochs_completed or 0}/{job.epochs}" if job.epochs else None,
        "worker": response.worker_id,
        "submitted_at": job.submitted_at.isoformat() if job.submitted_at else None,
        "last_sign": response.timestamp.isoformat() if response.timestamp else None,
        "message": response.error_message or response.status_message,
        "checkpoint": response.result.checkpoint_path if response.result else None,
    }


def explain(
    jobs: Jobs, job_id: str, now: datetime, find_handler: FindHandler, *, can_write: bool
) -> list[str]:
    """Why a job has not started, or what became of it; the most telling reason first."""
    job = jobs.find(job_id)
    if job is None:
        return _unreadable(jobs, job_id)
    response = jobs.responses.get(job_id)
    if response is None:
        return _pending(jobs, job, now, find_handler, can_write=can_write)
    if response.is_final:
        said = response.error_message or response.termination_reason or response.status_message
        return [f"It has ended: {response.state}{f' ({said})' if said else ''}."]
    return _claimed(job, response, now)


def _unreadable(jobs: Jobs, job_id: str) -> list[str]:
    for problem in jobs.manifest.problems:
        if problem.job_id == job_id:
            return [f"Bad entry, number {problem.position} in the manifest: {problem.message}."]
    return ["There is no such job in the manifest: it was removed, or not synced yet."]


def _pending(
    jobs: Jobs, job: Job, now: datetime, find_handler: FindHandler, *, can_write: bool
) -> list[str]:
    reasons: list[str] = []
    if job.canceled:
        reasons.append("It was canceled before it started; a worker will answer it, not run it.")
    if job.timeout is not None and now >= job.timeout:
        reasons.append(f"Its time was over at {_moment(job.timeout)}; no worker starts it.")
    try:
        find_handler(job)
    except HandlerNotFound as error:
        reasons.append(f"No handler: {error}")
    if not can_write:
        reasons.append("This account may not push to the project's default branch.")
    if reasons:
        return reasons
    ahead = [
        other
        for other in jobs.manifest.jobs
        if order_key(other) < order_key(job)
        and (other.job_id not in jobs.responses or jobs.state(other.job_id) == "running")
    ]
    if ahead:
        names = ", ".join(other.job_id for other in ahead[:3])
        return [f"No capacity yet: {len(ahead)} jobs of this project are ahead of it ({names} …)."]
    return [
        "Nothing stands in its way here: a worker takes it at its next look, unless it is busy with "
        "other projects or is no member of this one."
    ]


def _claimed(job: Job, response: Response, now: datetime) -> list[str]:
    who = response.worker_id or "somebody who left no name"
    said = [f"Claimed by {who}, attempt {response.attempt or response.retry_count or 1}."]
    if response.status_message:
        said.append(f"It says: {response.status_message}.")
    if response.timestamp is None:
        return [*said, "It gives no readable time, so nobody will take it over."]
    until = response.timestamp + timedelta(seconds=time_to_live_s(response))
    if may_be_stale(response, now):
        said.append(f"Silent since {_moment(response.timestamp)}; any worker may take it over.")
    else:
        said.append(f"Theirs until {_moment(until)}, longer if they renew it.")
    if job.canceled:
        said.append("It was asked to stop.")
    return said


def _is_canceling(jobs: Jobs, job: Job) -> bool:
    return job.canceled and jobs.state(job.job_id) != "canceled"


def _moment(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
