"""Jobs, uploads and sessions in SQLite, as of the last answer that anybody got. Knows no HTTP.

Every step of a job is one UPDATE that names the states it may come from: of two that race (a cancel and a result),
one finds the job already elsewhere and learns it. Used by worker and controller; each fills the columns it knows.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from web.protocol import Status

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL,
    name TEXT NOT NULL, upload_id TEXT NOT NULL, status TEXT NOT NULL, created_at REAL NOT NULL,
    stage TEXT, percent INTEGER NOT NULL, attempt INTEGER NOT NULL, started_at REAL, finished_at REAL,
    error_code TEXT, error_message TEXT, worker_error_code TEXT, worker_job_id TEXT, last_seen_at REAL,
    audio_s REAL, result_sha256 TEXT, must_cancel INTEGER NOT NULL, UNIQUE (owner, key));
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, created_at);
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    name TEXT NOT NULL, is_whole INTEGER NOT NULL, used_at REAL NOT NULL, UNIQUE (owner, sha256));
CREATE TABLE IF NOT EXISTS sessions (
    token_hash TEXT PRIMARY KEY, csrf_hash TEXT NOT NULL, owner TEXT NOT NULL, used_at REAL NOT NULL);
"""
VERSION = 1


@dataclass(frozen=True, slots=True)
class Job:
    """One row; times are Unix seconds."""

    id: str
    owner: str
    key: str
    """The client's own name for the request; the same one never makes a second job."""
    request: str
    """The request as it came, canonical JSON."""
    name: str
    upload_id: str
    status: Status
    created_at: float
    stage: str | None = None
    percent: int = 0
    attempt: int = 1
    started_at: float | None = None
    finished_at: float | None = None
    error_code: str | None = None
    error_message: str | None = None
    worker_error_code: str | None = None
    worker_job_id: str | None = None
    last_seen_at: float | None = None
    audio_s: float | None = None
    result_sha256: str | None = None
    must_cancel: bool = False
    """The worker has yet to hear that nobody wants it any more."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that is here, or on its way."""

    id: str
    owner: str
    sha256: str
    size: int
    name: str
    is_whole: bool
    used_at: float


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who may see their own jobs; secrets are kept as hashes."""

    token_hash: str
    csrf_hash: str
    owner: str
    used_at: float


class Store:
    """One database; safe from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            sqlite3.Error: it cannot be used, or is of a newer program.
        """
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise sqlite3.DatabaseError(f"{path} is of a newer program (version {version})")
        self._db.executescript(_SCHEMA)
        self._db.execute(f"PRAGMA user_version={VERSION}")

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def add_job(self, job: Job) -> Job | None:
        """Add a job; returns the one that is there already under its id or its owner's key."""
        with self._lock:
            there = self._one(
                "SELECT * FROM jobs WHERE id = ? OR (owner = ? AND key = ?)",
                job.id,
                job.owner,
                job.key,
            )
            if there is None:
                self._insert("jobs", asdict(job))
        return _job(there) if there is not None else None

    def job(self, job_id: str) -> Job | None:
        """One job."""
        with self._lock:
            row = self._one("SELECT * FROM jobs WHERE id = ?", job_id)
        return _job(row) if row is not None else None

    def jobs(self, status: Status, most: int = -1) -> list[Job]:
        """Jobs in a state, the oldest first."""
        rest = "WHERE status = ? ORDER BY created_at, rowid LIMIT ?"
        return self._jobs(rest, status, most)

    def latest_jobs(self, most: int, owner: str | None = None) -> list[Job]:
        """The newest jobs, of one owner or of all."""
        order = "ORDER BY created_at DESC LIMIT ?"
        if owner is None:
            return self._jobs(order, most)
        return self._jobs(f"WHERE owner = ? {order}", owner, most)

    def jobs_to_cancel(self) -> list[Job]:
        """Jobs of which a worker does not know yet that they are canceled."""
        return self._jobs("WHERE must_cancel ORDER BY created_at")

    def queued_before(self, moment_s: float) -> list[Job]:
        """Jobs that have waited for a worker since then."""
        return self._jobs("WHERE status = ? AND created_at < ?", Status.QUEUED_REMOTE, moment_s)

    def finished_before(self, moment_s: float) -> list[Job]:
        """Jobs that ended long ago."""
        return self._jobs("WHERE finished_at < ?", moment_s)

    def count_jobs(self) -> dict[Status, int]:
        """Jobs by state."""
        with self._lock:
            rows = self._db.execute("SELECT status, count(*) FROM jobs GROUP BY status").fetchall()
        return {Status(status): count for status, count in rows}

    def move(self, job_id: str, sources: Iterable[Status], **changes: Any) -> bool:
        """Change a job if it is in one of these states; says whether it was."""
        before = [*sources]
        columns = ", ".join(f"{name} = ?" for name in changes)
        marks = ",".join("?" * len(before))
        with self._lock:
            cursor = self._db.execute(
                f"UPDATE jobs SET {columns} WHERE id = ? AND status IN ({marks})",
                (*changes.values(), job_id, *before),
            )
        return cursor.rowcount > 0

    def move_all(self, source: Status, **changes: Any) -> int:
        """Change all jobs in a state; returns how many there were."""
        columns = ", ".join(f"{name} = ?" for name in changes)
        with self._lock:
            cursor = self._db.execute(
                f"UPDATE jobs SET {columns} WHERE status = ?", (*changes.values(), source)
            )
        return cursor.rowcount

    def delete_job(self, job_id: str) -> None:
        """Forget a job."""
        with self._lock:
            self._db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def add_upload(self, upload: Upload) -> Upload:
        """Add an upload; returns the one that its owner has of the same content."""
        with self._lock:
            row = self._one(
                "SELECT * FROM uploads WHERE owner = ? AND sha256 = ?", upload.owner, upload.sha256
            )
            if row is None:
                self._insert("uploads", asdict(upload))
                return upload
            self._db.execute(
                "UPDATE uploads SET used_at = ? WHERE id = ?", (upload.used_at, row["id"])
            )
        return _upload(row)

    def upload(self, upload_id: str) -> Upload | None:
        """One upload."""
        with self._lock:
            row = self._one("SELECT * FROM uploads WHERE id = ?", upload_id)
        return _upload(row) if row is not None else None

    def mark_whole(self, upload_id: str) -> None:
        """All of an upload is here and is what was announced."""
        with self._lock:
            self._db.execute("UPDATE uploads SET is_whole = 1 WHERE id = ?", (upload_id,))

    def delete_upload(self, upload_id: str) -> None:
        """Forget an upload."""
        with self._lock:
            self._db.execute("DELETE FROM uploads WHERE id = ?", (upload_id,))

    def idle_uploads(self, moment_s: float) -> list[Upload]:
        """Uploads that nobody touched since, and that no open job needs."""
        with self._lock:
            rows = self._db.execute(
                "SELECT * FROM uploads WHERE used_at < ? AND id NOT IN"
                " (SELECT upload_id FROM jobs WHERE finished_at IS NULL)",
                (moment_s,),
            ).fetchall()
        return [_upload(row) for row in rows]

    def add_session(self, session: Session) -> None:
        """Let somebody in."""
        with self._lock:
            self._insert("sessions", asdict(session))

    def session(self, token_hash: str) -> Session | None:
        """Who has this token."""
        with self._lock:
            row = self._one("SELECT * FROM sessions WHERE token_hash = ?", token_hash)
        return Session(**row) if row is not None else None

    def _jobs(self, rest: str, *values: Any) -> list[Job]:
        with self._lock:
            rows = self._db.execute(f"SELECT * FROM jobs {rest}", values).fetchall()
        return [_job(row) for row in rows]

    def _one(self, query: str, *values: Any) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(query, values).fetchone()
        return row

    def _insert(self, table: str, values: dict[str, Any]) -> None:
        marks = ",".join("?" * len(values))
        self._db.execute(
            f"INSERT INTO {table} ({','.join(values)}) VALUES ({marks})", tuple(values.values())
        )


def _job(row: sqlite3.Row) -> Job:
    values = {field.name: row[field.name] for field in fields(Job)}
    status, must_cancel = Status(values["status"]), bool(values["must_cancel"])
    return Job(**{**values, "status": status, "must_cancel": must_cancel})


def _upload(row: sqlite3.Row) -> Upload:
    values = {field.name: row[field.name] for field in fields(Upload)}
    return Upload(**{**values, "is_whole": bool(values["is_whole"])})
