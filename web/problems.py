"""Refusals as `application/problem+json` with a stable code, whoever raised them. Knows no endpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Refused(Exception):
    """A request that is not carried out."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after_s: float | None = None,
        **more: Any,
    ) -> None:
        """Say why.

        Args:
            status: of HTTP.
            code: for programs.
            detail: for people.
            retry_after_s: when it may work.
            more: further fields of the answer.
        """
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.more = more


def answer_problems(app: FastAPI) -> None:
    """Make every refusal of an application look the same."""

    @app.exception_handler(Refused)
    def refused(_: Request, error: Refused) -> JSONResponse:
        headers = {}
        more = dict(error.more)
        if error.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
            more["retryAfterSeconds"] = error.retry_after_s
        return problem(error.status, error.code, error.detail, more, headers)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = error.errors()
        is_unreadable = any(found["type"] == "json_invalid" for found in problems)
        detail = "; ".join(f"{_field(found)}: {found['msg']}" for found in problems)
        return problem(
            400 if is_unreadable else 422, "INVALID", detail, {"field": _field(problems[0])}
        )

    @app.exception_handler(HTTPException)
    def http(_: Request, error: HTTPException) -> JSONResponse:
        words = HTTPStatus(error.status_code).phrase
        return problem(error.status_code, words.upper().replace(" ", "_"), str(error.detail))

    @app.exception_handler(Exception)
    def crashed(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s broke", request.method, request.url.path, exc_info=error)
        return problem(500, "INTERNAL", "an error of the program; the log has it")


def problem(
    status: int,
    code: str,
    detail: str,
    more: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer to a request that is not carried out."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        **(more or {}),
    }
    return JSONResponse(body, status, dict(headers or {}), MEDIA_TYPE)


def _field(found: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in found["loc"][1:]) or "body"
