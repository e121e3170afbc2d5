"""Publishes an attempt's end: results, log and final response in one commit, by the owner or not at all.

    ending ─► compose on the newest files ─► Lease.finish ─► done
                 ▲ somebody was faster ◄──────────┘

The ledger hears of the intention first, of each try's edits to notebooks before it is made, and of the
result after. Knows no child: a killed predecessor's ending is published the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from gitlab_jobs import paths
from gitlab_jobs.codex.apply import EditContext
from gitlab_jobs.composition import compose
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.ending import Ending
from gitlab_jobs.errors import StoreError, TooLarge
from gitlab_jobs.job import Job, JobState
from gitlab_jobs.joblog import compose_log
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.ledger import Ledger, Standing
from gitlab_jobs.mending import mend
from gitlab_jobs.outbox import Contents
from gitlab_jobs.outcome import Outcome, too_large
from gitlab_jobs.publication import Journal, Publication, new_mark
from gitlab_jobs.response import Response, ResponseResult
from gitlab_jobs.resume import removal
from gitlab_jobs.store import Change, Committed, Create, ProjectStore, Update
from gitlab_jobs.workspace import Workspace

logger = logging.getLogger(__name__)

PART_CELLS = 1000
"""More cells than this are not written in one commit, nor more than this in one of several."""
SMALL_PART_CELLS = 50
"""The same, once the server has found a commit too large."""
PART_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Publisher:
    """What publishing needs to know besides the ending."""

    lease: Lease
    store: ProjectStore
    ledger: Ledger
    workspace: Workspace
    username: str
    mask: Callable[[bytes], bytes]

    def publish(self, ending: Ending, state: JobState, patience: Patience) -> Outcome:
        """Commit the end; in small parts if the server finds it too large at once.

        Returns:
            What was written: a failure if even a small part was too large.

        Raises:
            LeaseLost: the job is not ours any more; nothing was written.
            StoreError: it could not be written within `patience`; the ending is kept.
        """
        job = self.lease.job
        self.ledger.note(self.store.project, job.job_id, Standing.PUBLISHING)
        reach("publish.intended")
        for most_cells in (PART_CELLS, SMALL_PART_CELLS):
            try:
                self._publish(ending, state, patience, most_cells)
            except TooLarge as error:
                logger.warning("job %s: %s", job.job_id, error)
            else:
                return ending.outcome
        failed = replace(ending, outcome=too_large())
        self._publish(failed, JobState.FAILED, patience, PART_CELLS)
        return failed.outcome

    def _publish(
        self, ending: Ending, state: JobState, patience: Patience, most_cells: int
    ) -> None:
        self._publish_parts(ending.published_contents(), patience, most_cells)
        fields = _final_fields(ending, self.lease.response)
        final = _Noted(partial(self._changes, ending), self._journal)
        committed = self.lease.finish(final, patience, state, final.mark, **fields)
        reach("publish.acted")
        for publication in self._journal.pending():
            is_this = publication.mark == final.mark
            self._mend(publication, committed if is_this else None, patience)
        reach("publish.mended")
        job_id = self.lease.job.job_id
        self.ledger.note(self.store.project, job_id, Standing.DONE, self.lease.response)
        reach("publish.noted")

    def _publish_parts(self, contents: Contents, patience: Patience, most_cells: int) -> None:
        """Write the cells of a large job ahead of its end, notebook by notebook, with pauses.

        A person's editor copes badly with thousands of new files at once. A part that is on the branch
        composes to nothing when it is tried again, so a crash in between repeats none.
        """
        for number, (notebook, part) in enumerate(parts_of(contents, most_cells)):
            if number:
                patience.enough.wait(PART_PAUSE_S)
            cells = _Noted(partial(self._cells, part), self._journal)
            name = PurePosixPath(notebook).stem
            committed = self.lease.publish_part(cells, patience, name, cells.mark)
            reach("publish.part")
            if cells.publication.edits:
                self._mend(cells.publication, committed, patience)

    def _cells(self, part: Contents, *, is_retry: bool) -> Sequence[Change]:
        return compose(self.store, part, self._context(), is_retry=is_retry).changes

    def _mend(self, publication: Publication, commit: Committed | None, patience: Patience) -> None:
        """Put back what people wrote in the moment of a commit; the job goes on all the same."""
        job_id = self.lease.job.job_id
        try:
            mend(self.store, job_id, publication, commit, self._journal, patience)
        except StoreError as error:
            logger.error("job %s may have passed over edits of people: %s", job_id, error)

    @property
    def _journal(self) -> Journal:
        return self.ledger.journal(self.store.project, self.lease.job.job_id)

    def _changes(self, ending: Ending, *, is_retry: bool) -> Sequence[Change]:
        contents = ending.published_contents()
        composed = compose(self.store, contents, self._context(), is_retry=is_retry)
        changes = list(composed.changes)
        if self.lease.job.mode.trains:
            changes += removal(self.store, self.lease.job.job_id)
        if ending.outcome.publishes_log:
            left_out = [f"Left out: {reason}" for reason in composed.dropped]
            changes.append(self._log_change(ending, left_out))
        reach("publish.composed")
        return changes

    def _log_change(self, ending: Ending, left_out: list[str]) -> Change:
        path = paths.logs_path(self.lease.job.job_id)
        log = compose_log(ending.heading, self.workspace.log_path, [*left_out, *ending.closing])
        content = self.mask(log)
        found = self.store.read([path]).get(path)
        return Create(path, content) if found is None else Update(path, content, found.commit_id)

    def _context(self) -> EditContext:
        return edit_context(self.lease.job, self.username)


class _Noted:
    """Composes a commit, and puts down what it does to notebooks before it can be tried."""

    def __init__(self, compose_once: Callable[..., Sequence[Change]], journal: Journal) -> None:
        """Nothing is composed or noted before the first call."""
        self.publication = Publication(new_mark())
        self._compose = compose_once
        self._journal = journal
        self._is_retry = False

    def __call__(self) -> Sequence[Change]:
        """The changes of one more try."""
        changes = self._compose(is_retry=self._is_retry)
        self._is_retry = True
        self.publication = self.publication.with_try(changes)
        if self.publication.edits:
            self._journal.note(self.publication)
        reach("publish.journalled")
        return changes

    @property
    def mark(self) -> str:
        """What the commit is marked with."""
        return self.publication.mark


def parts_of(contents: Contents, most_cells: int) -> list[tuple[str, Contents]]:
    """Notebooks and what to write into each ahead of the final commit; nothing for a small job."""
    if sum(len(changes) for changes in contents.changes.values()) <= most_cells:
        return []
    return [
        (
            notebook,
            Contents(changes={notebook: changes[start : start + most_cells]}, takes=contents.takes),
        )
        for notebook, changes in contents.changes.items()
        for start in range(0, len(changes), most_cells)
    ]


def edit_context(job: Job, username: str) -> EditContext:
    """Who edits, when, and for which job."""
    submitted = job.submitted_at
    return EditContext(
        bot=username,
        job_id=job.job_id,
        submitted_at_ms=_milliseconds(submitted) if submitted else None,
        now_ms=_milliseconds(datetime.now(UTC)),
        pointers={},
    )


def _final_fields(ending: Ending, before: Response) -> dict[str, Any]:
    outcome, result = ending.outcome, ending.outcome.result
    told = (result.epochs_completed if result else None, ending.epochs_completed)
    epochs = next((each for each in told if each is not None), before.epochs_completed)
    made = ResponseResult(
        checkpoint_path=result.checkpoint_path if result else None,
        extra=dict(result.facts) if result else {},
    )
    return {
        "epochs_completed": epochs,
        "status_message": result.summary if result else None,
        "error_message": outcome.error_message,
        "error_code": outcome.error_code,
        "expected_completion": None,
        "termination_reason": outcome.reason.value if outcome.reason else None,
        "result": made if result else None,
    }


def _milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
