"""What GitLab's refusals and a network's faults mean, in the words of `errors`.

The one table from HTTP status and body text to our error classes; the transport applies it to every
reply. Knows no endpoint: the texts that matter come from the commits API only (GitLab:
`Files::MultiService`, `Gitaly::OperationService`), so that they can be told apart anywhere.
"""

from __future__ import annotations

import email.utils
import json
import re
from datetime import UTC, datetime

import requests
from urllib3.exceptions import HTTPError, NewConnectionError

from gitlab_jobs.errors import (
    AlreadyExists,
    Conflict,
    Denied,
    Forbidden,
    Missing,
    StoreError,
    TooLarge,
    Unavailable,
)

MAX_RETRY_AFTER_S = 15 * 60.0
MAX_ERROR_BYTES = 64 << 10
MAX_TEXT_CHARS = 300

_GRPC_STATUS = re.compile(r"(\d{1,2}):\s*(.*)", re.DOTALL)
# Leading numbers of a 400's text are gRPC codes of the storage service behind GitLab.
_COLLISION_CODES = frozenset({9, 10})  # failed precondition, aborted
_EXHAUSTED_CODES = frozenset({8})
_UNKNOWN_OUTCOME_CODES = frozenset({1, 2, 4, 13, 14, 15})
_COMMIT_REFUSALS: tuple[tuple[re.Pattern[str], type[StoreError]], ...] = (
    (re.compile(r"reference update|could not update|refresh and try again", re.I), Conflict),
    (re.compile(r"has changed since|been previously updated", re.I), Conflict),
    (re.compile(r"already exists", re.I), AlreadyExists),
    (re.compile(r"doesn'?t exist|when you are on a branch", re.I), Missing),
    (re.compile(r"not allowed to push", re.I), Forbidden),
)
_NOT_A_URL = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)
_RETRIED = frozenset({408, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524})
# A lock was not obtained, a precondition failed, or a limit refused: before anything was done.
_REFUSED_FOR_NOW = frozenset({409, 412, 429})


class RequestFailed(Unavailable):
    """A request that may be tried again.

    `sent` tells whether the server may have acted on it; `retry_after_s` is its own wish.
    """

    def __init__(
        self,
        message: str,
        *,
        sent: bool,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.sent = sent
        self.status = status
        self.retry_after_s = retry_after_s


class NotData(RequestFailed):
    """A page for people came instead of data: a proxy, a maintenance notice, or no GitLab at all."""


class Gone(Missing):
    """What was asked for is not there, or not for us to see (404): a project, not just a file of it."""


class Untrusted(Unavailable):
    """The server's certificate is not signed by anybody we trust; nothing was sent to it."""


class Astray(Forbidden):
    """A reply leads to an address that we were not told to trust."""


class NotAnAddress(StoreError):
    """The server's URL cannot be used at all."""


_KINDS: dict[int, type[StoreError]] = {403: Forbidden, 404: Gone, 413: TooLarge}


def refusal(response: requests.Response) -> StoreError:
    """The error that a reply of status 400 or more stands for."""
    text = reply_text(response)
    status = response.status_code
    said = f"{status} from {_place(response)}: {text}"
    if status == 401:
        return Denied(f"GitLab refused the access token ({text})")
    if status in _RETRIED or status in _REFUSED_FOR_NOW or _is_rate_limit(response, text):
        return RequestFailed(
            said,
            sent=status in _RETRIED,
            status=status,
            retry_after_s=retry_after_s(response),
        )
    return _bad_request(text, said) if status == 400 else _KINDS.get(status, StoreError)(said)


def fault(error: requests.RequestException | HTTPError, place: str) -> StoreError:
    """The error that a failed or broken exchange stands for."""
    said = f"{place}: {_cause(error)}"
    if isinstance(error, _NOT_A_URL):
        return NotAnAddress(said)
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY" in str(error):
        return Untrusted(said)
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return StoreError(said)
    return RequestFailed(said, sent=not _was_never_sent(error))


def reply_text(response: requests.Response) -> str:
    """What an error reply says, short: GitLab uses three JSON shapes, proxies use HTML."""
    try:
        body = next(response.iter_content(MAX_ERROR_BYTES), b"")
        text = body.decode("utf-8", "replace").strip()
    except (requests.RequestException, OSError):
        text = ""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict):
        said = found.get("error_description") or found.get("message") or found.get("error")
        if isinstance(said, dict) and "error" in said:
            said = said["error"]
        scope = f" (needs scope: {found['scope']})" if "scope" in found else ""
        text = f"{said or found}{scope}"
    elif text.startswith("<"):
        text = "an HTML page"
    return text[:MAX_TEXT_CHARS] or response.reason or "no text"


def retry_after_s(response: requests.Response) -> float | None:
    """Seconds that `Retry-After` asks for, whether it is a number or a date; bounded."""
    value = response.headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.isdigit():
        return min(float(value), MAX_RETRY_AFTER_S)
    until = http_date(value)
    if until is None:
        return None
    now = http_date(response.headers.get("Date", "")) or datetime.now(UTC)
    return min(max(0.0, (until - now).total_seconds()), MAX_RETRY_AFTER_S)


def http_date(text: str) -> datetime | None:
    """Read an HTTP date; None if it is not one."""
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _bad_request(text: str, said: str) -> StoreError:
    """A 400 of a write is often a verdict on the branch, not on the request."""
    if code := _GRPC_STATUS.match(text):
        number = int(code[1])
        if number in _COLLISION_CODES:
            return Conflict(said)
        if number in _UNKNOWN_OUTCOME_CODES | _EXHAUSTED_CODES:
            return RequestFailed(said, sent=number in _UNKNOWN_OUTCOME_CODES, status=400)
    for pattern, kind in _COMMIT_REFUSALS:
        if pattern.search(text):
            return kind(text)
    return StoreError(said)


def _is_rate_limit(response: requests.Response, text: str) -> bool:
    """Whether a 403 means "not now"; the reply to a HEAD has no words."""
    says_so = "rate limit" in text.lower() or "Retry-After" in response.headers
    return response.status_code == 403 and says_so


def _place(response: requests.Response) -> str:
    url = response.url.split("?", 1)[0]
    return f"{response.request.method} {url}"


def _was_never_sent(error: Exception) -> bool:
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    return isinstance(_reason(error), NewConnectionError)  # includes a name that has no address


def _reason(error: BaseException) -> BaseException:
    """The innermost cause that urllib3 keeps inside its wrappers."""
    inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    return _reason(inner) if isinstance(inner, BaseException) else error


def _cause(error: Exception) -> str:
    reason = _reason(error)
    text = str(reason).rsplit(">: ", 1)[-1]
    return f"{type(reason).__name__}: {text}"[:MAX_TEXT_CHARS]
