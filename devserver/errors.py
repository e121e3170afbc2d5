"""GitLab's refusals, in the three body shapes it uses, and how they become responses.

Raised anywhere below the request; `app.py` registers `render` for them. Knows no endpoint.

    ApiError ............ {"message": STRING, ARRAY or OBJECT}        the API helpers, most refusals
    ParameterError ...... {"error": STRING}                           parameters, routes, verbs
    TokenError .......... {"error", "error_description", "scope"?}    token problems
    PlainError .......... text                                        Workhorse, throttles, moves
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

REALM = 'Bearer realm="Protected by OAuth 2.0"'


class Refusal(Exception, ABC):
    """A request that is answered with an error."""

    def __init__(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.headers = dict(headers or {})

    @abstractmethod
    def response(self) -> Response:
        """Return the answer."""


class ApiError(Refusal):
    """A refusal of the API helpers."""

    def __init__(
        self, status: int, message: object, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, headers)
        self.message = message

    def response(self) -> Response:
        """Return the answer."""
        return JSONResponse({"message": self.message}, self.status, self.headers)


class InvalidJsonError(Refusal):
    """A JSON body that is none; the one answer in both shapes."""

    def __init__(self) -> None:
        super().__init__(400)

    def response(self) -> Response:
        """Return the answer."""
        text = "Invalid json"
        return JSONResponse({"message": text, "error": text}, self.status)


class ParameterError(Refusal):
    """A refusal of parameter validation or routing."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(status)
        self.error = error

    def response(self) -> Response:
        """Return the answer."""
        return JSONResponse({"error": self.error}, self.status, self.headers)


class TokenError(Refusal):
    """A token that is known but does not open this."""

    def __init__(self, status: int, code: str, description: str, scope: str | None = None) -> None:
        challenge = f'{REALM}, error="{code}", error_description="{description}"'
        super().__init__(status, {"WWW-Authenticate": challenge} if status == 401 else None)
        self.body = {"error": code, "error_description": description}
        if scope is not None:
            self.body["scope"] = scope

    def response(self) -> Response:
        """Return the answer."""
        return JSONResponse(self.body, self.status, self.headers)


class PlainError(Refusal):
    """A refusal in plain text."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, headers)
        self.text = text

    def response(self) -> Response:
        """Return the answer."""
        return PlainTextResponse(self.text, self.status, self.headers)


def bad_request(reason: str | None = None) -> ApiError:
    """Return a 400 of the helpers, with or without a reason."""
    return ApiError(400, f"400 Bad request - {reason}" if reason else "400 Bad request")


def unauthorized() -> ApiError:
    """Return the 401 for no token or an unknown one."""
    return ApiError(401, "401 Unauthorized")


def forbidden(reason: str | None = None) -> ApiError:
    """Return a 403, with or without a reason."""
    return ApiError(403, f"403 Forbidden - {reason}" if reason else "403 Forbidden")


def not_found(what: str | None = None) -> ApiError:
    """Return the 404 of a named thing (`Project`), or the generic one."""
    return ApiError(404, f"404 {what} Not Found" if what else "404 Not Found")


def token_expired() -> TokenError:
    """Return the 401 of an expired token."""
    text = "Token is expired. You can either do re-authorization or token refresh."
    return TokenError(401, "invalid_token", text)


def token_revoked() -> TokenError:
    """Return the 401 of a revoked token."""
    text = "Token was revoked. You have to re-authorize from the user."
    return TokenError(401, "invalid_token", text)


def insufficient_scope(sufficient: Iterable[str]) -> TokenError:
    """Return the 403 of a token whose scopes are too small."""
    text = "The request requires higher privileges than provided by the access token."
    return TokenError(403, "insufficient_scope", text, " ".join(sufficient))


async def render(_request: Request, error: Exception) -> Response:
    """Turn a refusal into its response (a Starlette exception handler)."""
    assert isinstance(error, Refusal)
    return error.response()


async def render_http(_request: Request, error: Exception) -> Response:
    """Answer what Starlette refuses on its own (outside the API: no such page, wrong verb)."""
    status: Any = getattr(error, "status_code", 500)
    return PlainTextResponse(f"{status} {HTTPStatus(status).phrase}\n", status)


async def render_crash(_request: Request, _error: Exception) -> Response:
    """Answer an error nobody expected; Starlette raises it again for the log."""
    return JSONResponse({"message": "500 Internal Server Error"}, 500)
