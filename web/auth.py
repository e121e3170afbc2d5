"""Who may ask: a bearer token on the worker, sessions on the controller. Secrets are compared as hashes, never logged.

Comparing hashes takes the same time wherever two secrets differ. Knows no endpoint.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping

from fastapi import Request

from web.problems import Refused
from web.store import Session, Store

COOKIE = "session"
CSRF_HEADER = "X-CSRF-Token"
TOKEN_BYTES = 32
_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})


def hashed(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_id(prefix: str) -> str:
    """An id that nobody guesses, such as `jb_…`."""
    return f"{prefix}_{secrets.token_hex(12)}"


class Bearer:
    """One token that opens everything; whoever has it owns everything."""

    OWNER = "token"

    def __init__(self, token: str) -> None:
        self._hash = hashed(token)

    def __call__(self, request: Request) -> str:
        """Let a request pass.

        Raises:
            Refused: it has no token, or another one.
        """
        if not self.is_valid(request.headers):
            raise Refused(401, "UNAUTHORIZED", "the bearer token is missing or is another one")
        return self.OWNER

    def is_valid(self, headers: Mapping[str, str]) -> bool:
        """Whether the right token stands in the headers."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(hashed(token), self._hash)


class Sessions:
    """Sessions by cookie; whatever changes something also needs the session's second secret in a header."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self) -> tuple[str, str]:
        """A new session: its token and its CSRF token, told once."""
        token, csrf = secrets.token_urlsafe(TOKEN_BYTES), secrets.token_urlsafe(TOKEN_BYTES)
        self._store.add_session(Session(hashed(token), hashed(csrf), new_id("own"), time.time()))
        return token, csrf

    def __call__(self, request: Request) -> str:
        """The owner on whose behalf a request comes.

        Raises:
            Refused: nobody whom we know, or a change without the second secret.
        """
        session = self._store.session(hashed(request.cookies.get(COOKIE, "")))
        if session is None:
            raise Refused(401, "NO_SESSION", "POST /api/session gives one")
        told = hashed(request.headers.get(CSRF_HEADER, ""))
        if request.method not in _CHANGES_NOTHING and not hmac.compare_digest(
            told, session.csrf_hash
        ):
            raise Refused(403, "CSRF", f"the header {CSRF_HEADER} is missing or wrong")
        return session.owner
