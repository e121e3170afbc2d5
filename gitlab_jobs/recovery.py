"""What a restarted worker does about the jobs that its killed predecessor had in hand.

    ledger says       the branch says                          then
    claiming          our lease is there                       go on with it
    claiming          it is not                                forget it
    held, publishing  our lease is there                       go on: same workspace, same attempt
    any               a newer response of another worker       lost (an older worker took it over)
    any               no lease, our final response             done
    any               no lease, but it ended with our response done, and rolled back since
    held, publishing  anything else                            lost: nothing is ever written

"Ours" means the nonce drawn for the claim; the same worker name with another nonce is a stranger. A job
that was finished here and reads otherwise now (a person's sync rolled its response back) is re-asserted. A
commit to notebooks that a killed worker had no time to look at is looked at first (`mending`), whatever
became of the job. Knows no child.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event

from gitlab_jobs import paths
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.ending import load_ending
from gitlab_jobs.errors import Denied, Forbidden, Missing, StoreError
from gitlab_jobs.lease import Lease, Patience, find_end
from gitlab_jobs.ledger import Ledger, Row, Standing
from gitlab_jobs.mending import find_commit, mend
from gitlab_jobs.response import Response, dump_response, parse_response
from gitlab_jobs.store import Change, Create, Delete, ProjectCatalog, ProjectStore, Update
from gitlab_jobs.workspace import Workspace

logger = logging.getLogger(__name__)

MENDING_S = 60.0


@dataclass(frozen=True, slots=True)
class Resumable:
    """A job that is still ours; `workspace` is None if it never got one (or it is gone)."""

    lease: Lease
    store: ProjectStore
    workspace: Workspace | None
    resumed: int

    @property
    def has_ended(self) -> bool:
        """Whether only publishing is left to do."""
        return self.workspace is not None and load_ending(self.workspace) is not None


class Recovery:
    """Settles the ledger's open rows, one look each; rows that cannot be read now stay open."""

    def __init__(
        self, ledger: Ledger, catalog: ProjectCatalog, boot_id: str, enough: Event
    ) -> None:
        """`boot_id` marks what this run of the worker writes from now on; `enough` ends all trying."""
        self._ledger = ledger
        self._catalog = catalog
        self._boot_id = boot_id
        self._patience = Patience(MENDING_S, enough)

    def resumable(self, under_way: Collection[tuple[str, str]] = ()) -> Iterator[Resumable]:
        """Jobs to go on with: a predecessor's, or ours whose end could not be written yet.

        Asks the server nothing while every row is settled. First it looks at commits that nobody has
        looked at: people whose edits they passed over come before any job. Jobs (by project id and
        job id) that are `under_way` here are left to their attempts.
        """
        for row in self._ledger.unmended():
            if (row.project.id, row.job.job_id) not in under_way:
                self._mend(row, self._catalog.open(row.project), may_follow=False)
        for row in self._ledger.unsettled():
            if (row.project.id, row.job.job_id) in under_way:
                continue
            try:
                found = self._look(row)
            except Denied:
                raise
            except StoreError as error:
                logger.warning("job %s cannot be looked after yet: %s", row.job.job_id, error)
                continue
            if found is not None:
                yield found

    def _look(self, row: Row) -> Resumable | None:
        store = self._catalog.open(row.project)
        job_id = row.job.job_id
        try:
            path = paths.response_path(job_id)
            version = store.read([path]).get(path)
            leases = store.list_folder(paths.lease_folder(job_id))
        except Missing:
            version, leases = None, ()
        there = parse_response(version.content) if version is not None else None
        is_ours = there is not None and there.claim == row.response.claim
        mine = _own_lease(row, leases)
        reach("recovery.looked")
        self._mend(row, store, may_follow=mine is not None)
        if mine is not None and version is not None and not _is_taken(row, there):
            return self._take_up(row, store, mine, there if there and is_ours else row.response)
        final = there if is_ours and there and there.is_final else None
        if final is None and not leases:
            end = find_end(store, job_id, str(row.response.claim))
            final = end.response if end is not None else None
        if final is not None:
            self._settle(row, Standing.DONE, final)
        elif row.standing is Standing.CLAIMING:
            self._ledger.forget(row.project, job_id)
            reach("recovery.forgotten")
        else:
            self._settle(row, Standing.LOST)
        return None

    def _mend(self, row: Row, store: ProjectStore, *, may_follow: bool) -> None:
        """Look at commits that a killed worker made, or did not; while the lease stands they may follow."""
        job_id = row.job.job_id
        journal = self._ledger.journal(row.project, job_id)
        for publication in journal.pending():
            try:
                commit = find_commit(store, publication)
                if commit is not None or not may_follow:
                    mend(store, job_id, publication, commit, journal, self._patience)
                    reach("recovery.mended")
            except (Forbidden, Missing) as error:
                logger.error("edits beside job %s cannot be looked after: %s", job_id, error)
                journal.settle(publication)
            except Denied:
                raise
            except StoreError as error:
                logger.warning("edits beside job %s are looked after later: %s", job_id, error)

    def _take_up(self, row: Row, store: ProjectStore, mine: str, response: Response) -> Resumable:
        logger.info("going on with job %s, which this worker held before", row.job.job_id)
        self._ledger.note(row.project, row.job.job_id, Standing.HELD)
        reach("recovery.taken_up")
        name = paths.parse_lease_path(mine)
        current = response.model_copy(
            update={
                "lease": mine,
                "lease_n": name.n if name else response.lease_n,
                "boot_id": self._boot_id,
            }
        )
        root = row.workspace
        workspace = Workspace(root) if root is not None and root.is_dir() else None
        lease = Lease(store, row.job, lease_path=mine, response=current)
        return Resumable(lease, store, workspace, row.resumed)

    def _settle(self, row: Row, standing: Standing, response: Response | None = None) -> None:
        logger.info("job %s was %s before this start", row.job.job_id, standing)
        self._ledger.note(row.project, row.job.job_id, standing, response)
        reach("recovery.settled")


def reassert(store: ProjectStore, row: Row) -> None:
    """Write the final response of a finished job again, and remove a lease that came back with it.

    Raises:
        StoreError: it could not be done now; the next scan will find it again.
    """
    path = paths.response_path(row.job.job_id)
    version = store.read([path]).get(path)
    final = row.response.model_copy(update={"timestamp": datetime.now(UTC)})
    leases = store.list_folder(paths.lease_folder(row.job.job_id))
    changes: list[Change] = [Delete(lease) for lease in leases]
    if version is None:
        changes.append(Create(path, dump_response(final)))
    else:
        changes.append(Update(path, dump_response(final), version.commit_id))
    reach("reassert.intended")
    store.commit(changes, f"scriptorium: restore the end of job {row.job.job_id}")
    reach("reassert.acted")
    logger.warning(
        "restored %s of job %s, which a sync had rolled back", row.response.state, row.job.job_id
    )


def is_rolled_back(row: Row, there: Response | None) -> bool:
    """Whether a job that ended here reads, by an older response of ours or of anybody, as if it had not."""
    if row.standing is not Standing.DONE or there is None or there.is_final:
        return False
    ours, theirs = row.response.timestamp, there.timestamp
    is_older = ours is not None and theirs is not None and theirs <= ours
    return is_older or there.claim == row.response.claim


def _is_taken(row: Row, there: Response | None) -> bool:
    """Whether another worker, one that knows no leases, has written itself in since our claim."""
    if there is None or there.worker_id in (None, row.response.worker_id):
        return False
    ours, theirs = row.response.timestamp, there.timestamp
    return ours is None or theirs is None or theirs >= ours


def _own_lease(row: Row, leases: tuple[str, ...]) -> str | None:
    """The newest lease file with our nonce, or the very file a take-over from an older worker made."""
    named = [(name, path) for path in leases if (name := paths.parse_lease_path(path))]
    mine = [(name.n, path) for name, path in named if name.nonce == row.response.claim]
    if mine:
        return max(mine)[1]
    return row.lease_path if row.lease_path in leases else None
