"""Users, tokens and access levels: plain values that `world.py` keeps and everyone else reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum, StrEnum


class AccessLevel(IntEnum):
    """GitLab's roles; a larger one includes the smaller ones."""

    NONE = 0
    GUEST = 10
    PLANNER = 15
    REPORTER = 20
    DEVELOPER = 30
    MAINTAINER = 40
    OWNER = 50


class TokenProblem(StrEnum):
    """Why a token opens nothing."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class User:
    """A person or a bot."""

    id: int
    username: str
    name: str
    admin: bool
    blocked: bool
    created_at: datetime

    @property
    def email(self) -> str:
        """The address commits through the API carry."""
        return f"{self.username}@example.com"


@dataclass(frozen=True, slots=True)
class Token:
    """A personal access token; `expires_at` is the day at whose start (UTC) it dies."""

    id: int
    value: str
    user_id: int
    name: str
    scopes: frozenset[str]
    revoked: bool
    expires_at: date | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Credential:
    """A valid token and whose it is."""

    user: User
    token: Token
