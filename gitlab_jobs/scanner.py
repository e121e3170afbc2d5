"""Which jobs wait for a worker, over all projects, at the price of what has changed.

    poll ─► manifest changed? parse ─► anything below gpu_jobs/ changed? read the responses of
    jobs not known to be finished ─► pending jobs, oldest first

A finished job is never looked at again, so a manifest that only grows costs nothing. Pure logic over the
catalogue port: knows no server and claims nothing. Used by one thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gitlab_jobs.errors import ManifestError
from gitlab_jobs.job import Job
from gitlab_jobs.manifest import Manifest, ManifestProblem, order_key, parse_manifest
from gitlab_jobs.paths import response_path
from gitlab_jobs.response import Response, parse_response
from gitlab_jobs.store import FileVersion, ProjectCatalog, ProjectRef, ProjectView
from gitlab_jobs.takeover import may_be_stale

logger = logging.getLogger(__name__)

PRIORITY_STEP_S = 3600.0
"""A point of priority is worth an hour of waiting, so that nothing waits for ever."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job somebody could take; `response` is None for a pending one."""

    project: ProjectRef
    job: Job
    response: Response | None = None


@dataclass(frozen=True, slots=True)
class UnreadableJob:
    """A manifest entry that can never run; answering it once stops the user's waiting."""

    project: ProjectRef
    job_id: str
    message: str


@dataclass(frozen=True, slots=True)
class Offers:
    """What there is to do.

    `candidates` are pending, the first should run first. `canceled` were given up before anybody took
    them. `unreadable` have no response yet. `stale` are running by their response, but it has not been
    refreshed for longer than its lease: the branch must be asked again before one is taken over.
    `running` are all that somebody holds, by their response.
    """

    candidates: tuple[Candidate, ...]
    canceled: tuple[Candidate, ...]
    unreadable: tuple[UnreadableJob, ...]
    stale: tuple[Candidate, ...]
    running: tuple[Candidate, ...]


@dataclass(slots=True)
class _Known:
    """What is remembered of one project."""

    project: ProjectRef
    manifest_blob_id: str | None = None
    manifest: Manifest | None = None
    jobs_revision: str | None = None
    is_current: bool = False
    finished: set[str] = field(default_factory=set)
    running: dict[str, Response] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)


class JobScanner:
    """Remembers what it has seen, so that an unchanged world costs one poll."""

    def __init__(
        self,
        catalog: ProjectCatalog,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        finished_here: Callable[[ProjectRef], Collection[str]] = lambda _: (),
    ) -> None:
        """`finished_here` names jobs whose ends a sync may roll back: they are read again."""
        self._catalog = catalog
        self._finished_here = finished_here
        self._now = now
        self._projects: dict[str, _Known] = {}

    def scan(self) -> Offers:
        """Look once.

        Raises:
            Unavailable, Denied: nothing was learned; the next scan starts where this one did.
        """
        views = {view.project.id: view for view in self._catalog.poll()}
        self._projects = {project_id: self._refreshed(view) for project_id, view in views.items()}
        wanted = {
            known.project: unknown
            for known in self._projects.values()
            if not known.is_current and (unknown := self._ids_to_read(known))
        }
        paths = {
            project: [response_path(job_id) for job_id in ids] for project, ids in wanted.items()
        }
        found = self._catalog.read_many(paths) if paths else {}
        for project_id, known in self._projects.items():
            if known.project in found:
                _learn(known, wanted[known.project], found[known.project])
            if known.project in found or known.project not in wanted:
                known.jobs_revision = views[project_id].jobs_revision
                known.is_current = True
        return self._offers()

    def _ids_to_read(self, known: _Known) -> list[str]:
        own = {*self._finished_here(known.project)} & known.finished
        return [*_unknown_ids(known), *sorted(own)]

    def _refreshed(self, view: ProjectView) -> _Known:
        known = self._projects.get(view.project.id) or _Known(view.project)
        known.project = view.project
        if view.manifest_blob_id != known.manifest_blob_id:
            known.manifest_blob_id = view.manifest_blob_id
            known.manifest = _parse(view)
            known.is_current = False
            _forget_removed(known)
            _report(known)
        if view.jobs_revision is None or view.jobs_revision != known.jobs_revision:
            known.is_current = False
        return known

    def _offers(self) -> Offers:
        now = self._now()
        candidates: list[Candidate] = []
        canceled: list[Candidate] = []
        stale: list[Candidate] = []
        running: list[Candidate] = []
        unreadable: list[UnreadableJob] = []
        for known in self._projects.values():
            for job in _open_jobs(known):
                response = known.running.get(job.job_id)
                offer = Candidate(known.project, job, response)
                if response is not None:
                    running.append(offer)
                    if may_be_stale(response, now):
                        stale.append(offer)
                elif job.canceled:
                    canceled.append(offer)
                elif job.timeout is None or now < job.timeout:
                    candidates.append(offer)
            unreadable += _open_problems(known)
        return Offers(
            tuple(sorted(candidates, key=_turn)),
            tuple(canceled),
            tuple(unreadable),
            tuple(sorted(stale, key=_turn)),
            tuple(running),
        )


def _parse(view: ProjectView) -> Manifest | None:
    if view.manifest is None:
        return None
    try:
        return parse_manifest(view.manifest)
    except ManifestError as error:
        logger.warning("project %s is skipped: %s", view.project.path, error)
        return None


def _forget_removed(known: _Known) -> None:
    """Drop entries that the user removed; an unreadable manifest removes nothing."""
    if known.manifest is None:
        return
    known.finished &= known.manifest.ids
    known.running = {
        job_id: response
        for job_id, response in known.running.items()
        if job_id in known.manifest.ids
    }


def _report(known: _Known) -> None:
    for problem in _problems(known):
        if problem.message not in known.reported:
            known.reported.add(problem.message)
            logger.warning(
                "project %s, job entry %d is left out: %s",
                known.project.path,
                problem.position,
                problem.message,
            )


def _problems(known: _Known) -> Iterable[ManifestProblem]:
    return known.manifest.problems if known.manifest is not None else ()


def _unknown_ids(known: _Known) -> list[str]:
    """Jobs whose response may have changed: all but the finished ones."""
    if known.manifest is None:
        return []
    ids = [job.job_id for job in known.manifest.jobs]
    ids += [problem.job_id for problem in known.manifest.problems if problem.job_id is not None]
    return [job_id for job_id in ids if job_id not in known.finished]


def _learn(known: _Known, asked: Iterable[str], found: Mapping[str, FileVersion]) -> None:
    for job_id in asked:
        known.running.pop(job_id, None)
        known.finished.discard(job_id)
        version = found.get(response_path(job_id))
        if version is None:
            continue
        # A file that cannot be read is somebody's all the same, and not finished.
        response = parse_response(version.content) or Response()
        if response.is_final:
            known.finished.add(job_id)
        else:
            known.running[job_id] = response


def _open_jobs(known: _Known) -> list[Job]:
    if known.manifest is None or not known.is_current:
        return []
    return [job for job in known.manifest.jobs if job.job_id not in known.finished]


def _open_problems(known: _Known) -> list[UnreadableJob]:
    if not known.is_current:
        return []
    return [
        UnreadableJob(known.project, problem.job_id, problem.message)
        for problem in _problems(known)
        if problem.job_id is not None
        and not problem.canceled
        and problem.job_id not in known.finished
        and problem.job_id not in known.running
    ]


def _turn(candidate: Candidate) -> tuple[bool, float, str]:
    undated, submitted_at, job_id = order_key(candidate.job)
    return (undated, submitted_at.timestamp() - PRIORITY_STEP_S * candidate.job.priority, job_id)
