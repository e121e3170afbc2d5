"""The ledger's tables, and how an older file becomes one of today.

The version is SQLite's own `user_version`. Each step runs in one transaction together with the new number,
so a file is never between two versions, whenever the power goes. Knows no row.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gitlab_jobs.errors import ConfigError

EXIT_WRONG_VERSION = 76

# A file of version 0 may hold the first table already: that step once set its number afterwards.
_STEPS = (
    """
    CREATE TABLE IF NOT EXISTS jobs (
        project_id     TEXT NOT NULL,
        job_id         TEXT NOT NULL,
        project_path   TEXT NOT NULL,
        branch         TEXT NOT NULL,
        job            TEXT NOT NULL,
        state          TEXT NOT NULL,
        lease_path     TEXT NOT NULL,
        response       BLOB NOT NULL,
        workspace      TEXT,
        resumed        INTEGER NOT NULL DEFAULT 0,
        wish           TEXT,
        changed_at     TEXT NOT NULL,
        PRIMARY KEY (project_id, job_id)
    ) STRICT
    """,
    """
    CREATE TABLE publications (
        number         INTEGER PRIMARY KEY,
        project_id     TEXT NOT NULL,
        job_id         TEXT NOT NULL,
        mark           TEXT NOT NULL UNIQUE,
        publication    TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE training_states (
        project_id     TEXT NOT NULL,
        job_id         TEXT NOT NULL,
        oid            TEXT NOT NULL,
        size           INTEGER NOT NULL,
        intended_at    TEXT NOT NULL,
        saved_at       TEXT,
        PRIMARY KEY (project_id, job_id, oid)
    ) STRICT
    """,
)
"""What leads from each version to the next; a step that was released is never changed."""

SCHEMA_VERSION = len(_STEPS)


def upgrade(db: sqlite3.Connection, path: Path) -> None:
    """Bring a file (also an empty one) to this program's version.

    Args:
        db: an open connection without a transaction of Python's own (`isolation_level=None`).
        path: the file, for people.

    Raises:
        ConfigError: a newer program wrote it; nothing was changed.
    """
    found = _version(db)
    if found > SCHEMA_VERSION:
        raise ConfigError(
            f"{path} was written by a newer version of this program",
            hint="update this worker, or give it another --work-dir",
            exit_code=EXIT_WRONG_VERSION,
        )
    for number, step in enumerate(_STEPS[found:], start=found + 1):
        with db:
            db.execute("BEGIN IMMEDIATE")
            db.execute(step)
            db.execute(f"PRAGMA user_version = {number}")


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)
