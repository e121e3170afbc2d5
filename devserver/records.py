"""Rows of the state file as values; the only place that knows how a column is written."""

from __future__ import annotations

import sqlite3
from datetime import date, datetime

from devserver.people import Token, User
from devserver.projects import Project, Push


def user_of(row: sqlite3.Row) -> User:
    """Read a row of `users`."""
    return User(
        id=row["id"],
        username=row["username"],
        name=row["name"],
        admin=bool(row["admin"]),
        blocked=bool(row["blocked"]),
        created_at=datetime.fromisoformat(row["created_at"]),
    )


def token_of(row: sqlite3.Row) -> Token:
    """Read a row of `tokens`."""
    expires_at = row["expires_at"]
    return Token(
        id=row["id"],
        value=row["value"],
        user_id=row["user_id"],
        name=row["name"],
        scopes=frozenset(row["scopes"].split()),
        revoked=bool(row["revoked"]),
        expires_at=date.fromisoformat(expires_at) if expires_at else None,
        created_at=datetime.fromisoformat(row["created_at"]),
    )


def project_of(row: sqlite3.Row) -> Project:
    """Read a row of `projects`."""
    return Project(
        id=row["id"],
        path=row["path"],
        name=row["name"],
        visibility=row["visibility"],
        default_branch=row["default_branch"],
        lfs_enabled=bool(row["lfs_enabled"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        last_activity_at=datetime.fromisoformat(row["last_activity_at"]),
        archived=bool(row["archived"]),
    )


def push_of(row: sqlite3.Row) -> Push:
    """Read a row of `pushes`."""
    return Push(
        id=row["id"],
        project_id=row["project_id"],
        user_id=row["user_id"],
        created_at=datetime.fromisoformat(row["created_at"]),
        branch=row["branch"],
        commit_from=row["commit_from"],
        commit_to=row["commit_to"],
        commit_count=row["commit_count"],
    )
