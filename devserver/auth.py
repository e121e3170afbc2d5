"""Who signs an API request, and whether the token's scopes cover it.

REST and GraphQL accept `PRIVATE-TOKEN`, `Authorization: Bearer` and `?private_token=`; Git and LFS
have rules of their own (`git_auth.py`). What a user may do to a project is the world's business.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.requests import Request

from devserver import errors
from devserver.people import Credential, TokenProblem
from devserver.world import World

READ_SCOPES = ("api", "read_api")
WRITE_SCOPES = ("api",)
FILE_SCOPES = ("api", "read_api", "read_repository")
USER_SCOPES = ("api", "read_api", "read_user")


def presented_token(request: Request) -> str | None:
    """Return the token a request carries, valid or not."""
    if token := request.headers.get("private-token"):
        return token
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return request.query_params.get("private_token") or request.query_params.get("access_token")


def sign_in(request: Request, world: World) -> Credential | None:
    """Return who asks; None if no token is presented.

    Raises:
        Refusal: 401 or 403 for a token that opens nothing.
    """
    token = presented_token(request)
    if token is None:
        return None
    found = world.authenticate(token)
    if isinstance(found, Credential):
        return found
    if found is TokenProblem.EXPIRED:
        raise errors.token_expired()
    if found is TokenProblem.REVOKED:
        raise errors.token_revoked()
    if found is TokenProblem.BLOCKED:
        raise errors.forbidden("Your account has been blocked.")
    raise errors.unauthorized()


def require_scope(credential: Credential, sufficient: Collection[str]) -> None:
    """Refuse a token that has none of the sufficient scopes."""
    if not credential.token.scopes.intersection(sufficient):
        raise errors.insufficient_scope(sufficient)
