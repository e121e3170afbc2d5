"""Who speaks on git and LFS paths: HTTP Basic only, and what the credential may do there.

For an access token any user name works; the password is the token. LFS actions carry a short-lived
token of their own (`ActionTokens`), bound to one user, project and operation. The REST and GraphQL
rules are elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from devserver.errors import PlainError
from devserver.people import Credential, User
from devserver.world import Project, World

ACTION_LIFETIME_S = 2 * 3600.0

_DOWNLOAD_SCOPES = frozenset({"api", "read_api", "read_repository", "write_repository"})
_PUSH_SCOPES = frozenset({"api", "write_repository"})
_DENIED = (
    "HTTP Basic: Access denied. The token is missing, unknown, expired or revoked, "
    "or its scopes do not cover this repository.\n"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, and what the credential (not yet the user's role) allows."""

    user: User | None
    may_push: bool

    def can_read(self, world: World, project: Project) -> bool:
        """Tell whether the repository may be fetched."""
        return world.can_read_code(self.user, project)

    def can_push(self, world: World, project: Project) -> bool:
        """Tell whether anything at all may be pushed; single branches may still be refused."""
        level = world.access_level(self.user, project)
        return self.may_push and level >= 30 and not project.archived


ANONYMOUS = Identity(None, may_push=False)


def identify(request: Request, world: World, project: Project | None) -> Identity:
    """Name who asks.

    Raises:
        PlainError: 401, for every credential that does not open git.
    """
    header = request.headers.get("authorization")
    if header is None:
        return ANONYMOUS
    username, password = _basic(header)
    if username.endswith("gitlab-ci-token") or username.endswith("-ci-token"):
        raise denied()
    action = ActionTokens(world.root).read(password)
    if action is not None:
        return _action_identity(world, project, action)
    credential = world.authenticate(password)
    if not isinstance(credential, Credential) or not credential.token.scopes & _DOWNLOAD_SCOPES:
        raise denied()
    return Identity(credential.user, may_push=bool(credential.token.scopes & _PUSH_SCOPES))


def denied() -> PlainError:
    """Return the one refusal of missing and of bad credentials."""
    return PlainError(401, _DENIED, {"WWW-Authenticate": 'Basic realm="GitLab"'})


@dataclass(frozen=True, slots=True)
class Action:
    """What an action token was issued for; user id 0 is nobody."""

    project_id: int
    user_id: int
    upload: bool


class ActionTokens:
    """Issues and reads the tokens in LFS actions; they outlive a restart of the server."""

    def __init__(self, root: Path) -> None:
        self._key_path = root / "action.key"

    def issue(self, action: Action, *, lifetime_s: float = ACTION_LIFETIME_S) -> str:
        """Return a token for an action."""
        expires_at = int(time.time() + lifetime_s)
        claim = f"lfs.{action.project_id}.{action.user_id}.{int(action.upload)}.{expires_at}"
        return f"{claim}.{self._sign(claim)}"

    def read(self, token: str) -> Action | None:
        """Return what a token was issued for; None if it is no action token or is past its time."""
        claim, _, signature = token.rpartition(".")
        if not claim.startswith("lfs.") or not hmac.compare_digest(
            signature.encode(), self._sign(claim).encode()
        ):
            return None
        _, project_id, user_id, upload, expires_at = claim.split(".")
        if time.time() >= int(expires_at):
            return None
        return Action(int(project_id), int(user_id), upload == "1")

    def _sign(self, claim: str) -> str:
        return hmac.new(self._key(), claim.encode(), hashlib.sha256).hexdigest()

    def _key(self) -> bytes:
        if not self._key_path.exists():
            # Linking makes the first of several simultaneous writers win, and never half a key.
            fresh = self._key_path.with_name(f"action.key.{secrets.token_hex(8)}")
            fresh.write_bytes(secrets.token_bytes(32))
            fresh.chmod(0o600)
            try:
                self._key_path.hardlink_to(fresh)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return self._key_path.read_bytes()


def basic_header(username: str, password: str) -> str:
    """Return the value of an `Authorization` header."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _basic(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise denied()
    try:
        username, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise denied() from error
    return username, password


def _action_identity(world: World, project: Project | None, action: Action) -> Identity:
    if project is None or project.id != action.project_id:
        raise denied()
    user = world.user(action.user_id)
    if action.user_id and (user is None or user.blocked):
        raise denied()
    return Identity(user, may_push=action.upload)
