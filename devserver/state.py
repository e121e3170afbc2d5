"""The world on disk: one SQLite file under the root, written through at every change.

Rows only; what they mean is `world.py`'s business. One connection, one lock: every statement is a
few microseconds, so threads simply take turns. A kill of the process loses nothing that was answered.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
  id INTEGER PRIMARY KEY AUTOINCREMENT, username TEXT UNIQUE NOT NULL, name TEXT NOT NULL,
  admin INTEGER NOT NULL, blocked INTEGER NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
  id INTEGER PRIMARY KEY AUTOINCREMENT, value TEXT UNIQUE NOT NULL, user_id INTEGER NOT NULL,
  name TEXT NOT NULL, scopes TEXT NOT NULL, revoked INTEGER NOT NULL, expires_at TEXT,
  created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS projects (
  id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT UNIQUE NOT NULL, name TEXT NOT NULL,
  visibility TEXT NOT NULL, default_branch TEXT NOT NULL, lfs_enabled INTEGER NOT NULL,
  created_at TEXT NOT NULL, last_activity_at TEXT NOT NULL, archived INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS members (
  project_id INTEGER NOT NULL, user_id INTEGER NOT NULL, level INTEGER NOT NULL,
  PRIMARY KEY (project_id, user_id));
CREATE TABLE IF NOT EXISTS protected_branches (
  project_id INTEGER NOT NULL, branch TEXT NOT NULL, push_level INTEGER NOT NULL,
  PRIMARY KEY (project_id, branch));
CREATE TABLE IF NOT EXISTS lfs_links (
  project_id INTEGER NOT NULL, oid TEXT NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (project_id, oid));
CREATE TABLE IF NOT EXISTS pushes (
  id INTEGER PRIMARY KEY AUTOINCREMENT, project_id INTEGER NOT NULL, user_id INTEGER NOT NULL,
  created_at TEXT NOT NULL, branch TEXT NOT NULL, commit_from TEXT, commit_to TEXT,
  commit_count INTEGER NOT NULL);
"""

Value = str | int | float | None


class State:
    """The SQLite file; safe under threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        # The operating system keeps what a killed process wrote; only a power cut could lose rows.
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(SCHEMA)

    def rows(self, query: str, values: Sequence[Value] = ()) -> list[sqlite3.Row]:
        """Answer a query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def insert(self, table: str, **columns: Value) -> int:
        """Add a row and return its id."""
        return self._write("INSERT", table, columns)

    def put(self, table: str, **columns: Value) -> None:
        """Add a row, or replace the one with the same key."""
        self._write("INSERT OR REPLACE", table, columns)

    def update(self, table: str, row_id: int, **columns: Value) -> None:
        """Change columns of the row with this id."""
        assignments = ", ".join(f"{name} = ?" for name in columns)
        with self._lock:
            self._connection.execute(
                f"UPDATE {table} SET {assignments} WHERE id = ?", (*columns.values(), row_id)
            )

    def delete(self, table: str, **columns: Value) -> None:
        """Drop the rows that match every given column."""
        condition = " AND ".join(f"{name} = ?" for name in columns)
        with self._lock:
            self._connection.execute(
                f"DELETE FROM {table} WHERE {condition}", tuple(columns.values())
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _write(self, verb: str, table: str, columns: Mapping[str, Value]) -> int:
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        with self._lock:
            cursor = self._connection.execute(
                f"{verb} INTO {table} ({names}) VALUES ({marks})", tuple(columns.values())
            )
            return cursor.lastrowid or 0
