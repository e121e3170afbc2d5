"""What this worker has claimed, published and lost, on its own disk: `<work>/ledger.sqlite3`.

Every change of a job in GitLab is written down before it is tried and again when its outcome is known, so
that a worker that was killed in between can find out which of the two it was. Rows of ended jobs stay: they
are how a finished job is never run twice, even if a person's sync rolls its `response.yaml` back.

    claiming ─► held ─► held … ─► publishing ─► done
        └─► (forgotten)   └─► lost, released ◄──┘

Knows no GitLab; `recovery` compares rows with the branch. One daemon per work directory writes it
(`instance`), from several threads.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from gitlab_jobs.job import CancelReason, Job
from gitlab_jobs.ledger_schema import upgrade
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.publication import PUBLICATION, Journal, Publication
from gitlab_jobs.response import Response, dump_response, parse_response
from gitlab_jobs.store import ProjectRef

FILE_NAME = "ledger.sqlite3"


class Standing(StrEnum):
    """Where a job stands, as far as this worker knows."""

    CLAIMING = "claiming"
    HELD = "held"
    PUBLISHING = "publishing"
    DONE = "done"
    LOST = "lost"
    RELEASED = "released"

    @property
    def is_open(self) -> bool:
        """Whether a restarted worker has to find out what became of it."""
        return self in (Standing.CLAIMING, Standing.HELD, Standing.PUBLISHING)


@dataclass(frozen=True, slots=True)
class Row:
    """One job: the lease it was claimed with, and the newest response that is known.

    `resumed` counts how often a restarted worker has taken the attempt up again. `wish` is why the user
    wanted it stopped, once that was seen: it holds even if a sync makes it vanish from the manifest.
    """

    project: ProjectRef
    job: Job
    standing: Standing
    lease_path: str
    response: Response
    workspace: Path | None
    resumed: int
    wish: CancelReason | None


class Ledger:
    """Safe to use from several threads; every method is durable when it returns."""

    def __init__(self, path: Path) -> None:
        """Open or make the file, or bring an older one up to date.

        Raises:
            ConfigError: a newer program wrote it.
        """
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        upgrade(self._db, path)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def claiming(self, project: ProjectRef, job: Job, lease_path: str, response: Response) -> None:
        """A claim or take-over is about to be tried with this lease."""
        self._write(
            "INSERT OR REPLACE INTO jobs (project_id, job_id, project_path, branch, job, state,"
            " lease_path, response, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            project.id,
            job.job_id,
            project.path,
            project.default_branch,
            job.model_dump_json(),
            Standing.CLAIMING.value,
            lease_path,
            dump_response(response),
            _now(),
        )

    def note(
        self, project: ProjectRef, job_id: str, standing: Standing, response: Response | None = None
    ) -> None:
        """A job stands differently now; `response`, if given, is what is on the branch."""
        self._write(
            "UPDATE jobs SET state = ?, changed_at = ?, response = coalesce(?, response)"
            " WHERE project_id = ? AND job_id = ?",
            standing.value,
            _now(),
            None if response is None else dump_response(response),
            project.id,
            job_id,
        )

    def settle_in(self, project: ProjectRef, job_id: str, workspace: Path) -> None:
        """An attempt works in this directory; a resumed one counts how often."""
        self._write(
            "UPDATE jobs SET resumed = resumed + (workspace IS NOT NULL), workspace = ?"
            " WHERE project_id = ? AND job_id = ?",
            str(workspace),
            project.id,
            job_id,
        )

    def note_wish(self, project: ProjectRef, job_id: str, wish: CancelReason) -> None:
        """The user wants this attempt to stop; what was seen first stays."""
        self._write(
            "UPDATE jobs SET wish = coalesce(wish, ?) WHERE project_id = ? AND job_id = ?",
            wish.value,
            project.id,
            job_id,
        )

    def saving_state(self, project: ProjectRef, job_id: str, state: Pointer) -> None:
        """A training's state is about to be sent to the server."""
        self._write(
            "INSERT OR IGNORE INTO training_states (project_id, job_id, oid, size, intended_at)"
            " VALUES (?, ?, ?, ?, ?)",
            project.id,
            job_id,
            state.oid,
            state.size,
            _now(),
        )

    def saved_state(self, project: ProjectRef, job_id: str, state: Pointer) -> None:
        """The state is in the job's folder, where another box finds it."""
        self._write(
            "UPDATE training_states SET saved_at = ? WHERE project_id = ? AND job_id = ? AND oid = ?",
            _now(),
            project.id,
            job_id,
            state.oid,
        )

    def sent_bytes(self, project: ProjectRef, job_id: str) -> int:
        """How much a job's states may take up on the server; its history keeps them all."""
        with self._lock:
            (total,) = self._db.execute(
                "SELECT coalesce(sum(size), 0) FROM training_states"
                " WHERE project_id = ? AND job_id = ?",
                (project.id, job_id),
            ).fetchone()
        return int(total)

    def forget(self, project: ProjectRef, job_id: str) -> None:
        """A claim that was never ours."""
        self._write("DELETE FROM jobs WHERE project_id = ? AND job_id = ?", project.id, job_id)

    def find(self, project: ProjectRef, job_id: str) -> Row | None:
        """What is known of a job."""
        rows = self._read("WHERE project_id = ? AND job_id = ?", project.id, job_id)
        return rows[0] if rows else None

    def unsettled(self) -> list[Row]:
        """Jobs whose end a killed worker did not see, oldest first."""
        return [row for row in self._read("ORDER BY changed_at") if row.standing.is_open]

    def unmended(self) -> list[Row]:
        """Jobs that are over here, with commits that nobody has looked at since."""
        where = (
            "WHERE (project_id, job_id) IN (SELECT project_id, job_id FROM publications)"
            " ORDER BY changed_at"
        )
        return [row for row in self._read(where) if not row.standing.is_open]

    def journal(self, project: ProjectRef, job_id: str) -> Journal:
        """What a job is writing into people's notebooks."""
        return _JobJournal(self, project, job_id)

    def ended(self, project: ProjectRef) -> dict[str, Row]:
        """Jobs of a project that this worker finished, by id."""
        rows = self._read("WHERE project_id = ? AND state = ?", project.id, Standing.DONE.value)
        return {row.job.job_id: row for row in rows}

    def note_publication(self, project: ProjectRef, job_id: str, publication: Publication) -> None:
        """A commit that changes notebooks is about to be tried."""
        self._write(
            "INSERT INTO publications (project_id, job_id, mark, publication) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (mark) DO UPDATE SET publication = excluded.publication",
            project.id,
            job_id,
            publication.mark,
            PUBLICATION.dump_json(publication).decode(),
        )

    def settle_publication(self, publication: Publication) -> None:
        """A commit that changed notebooks was looked at."""
        self._write("DELETE FROM publications WHERE mark = ?", publication.mark)

    def publications(self, project: ProjectRef, job_id: str) -> list[Publication]:
        """Commits of a job that still have to be looked at, oldest first."""
        sql = "SELECT publication FROM publications WHERE project_id = ? AND job_id = ? ORDER BY number"
        with self._lock:
            found = self._db.execute(sql, (project.id, job_id)).fetchall()
        return [PUBLICATION.validate_json(text) for (text,) in found]

    def _write(self, sql: str, *values: object) -> None:
        with self._lock:
            self._db.execute(sql, values)

    def _read(self, where: str, *values: object) -> list[Row]:
        columns = (
            "project_id, project_path, branch, job, state, lease_path, response, workspace, resumed,"
            " wish"
        )
        with self._lock:
            found = self._db.execute(f"SELECT {columns} FROM jobs {where}", values).fetchall()
        return [_row(*values) for values in found]


@dataclass(frozen=True, slots=True)
class _JobJournal:
    """The part of a ledger that belongs to one job's publications."""

    _ledger: Ledger
    _project: ProjectRef
    _job_id: str

    def note(self, publication: Publication) -> None:
        self._ledger.note_publication(self._project, self._job_id, publication)

    def settle(self, publication: Publication) -> None:
        self._ledger.settle_publication(publication)

    def pending(self) -> list[Publication]:
        return self._ledger.publications(self._project, self._job_id)


def _row(*columns: Any) -> Row:
    project_id, path, branch, job, state, lease_path, response, workspace, resumed, wish = columns
    parsed = parse_response(response)
    if parsed is None:
        raise ValueError(f"the ledger's response of a job in {path} cannot be read")
    return Row(
        ProjectRef(project_id, path, branch),
        Job.model_validate_json(job),
        Standing(state),
        lease_path,
        parsed,
        Path(workspace) if workspace else None,
        resumed,
        CancelReason(wish) if wish else None,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat()
