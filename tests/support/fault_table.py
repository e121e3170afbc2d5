"""What may go wrong between a worker and GitLab, and how it must end: the table that the tests hold us to.

A row is a kind of fault as the devserver's fault switch makes it, the end of a request that may be repeated
(`read`: every read, and the sending of an object, which is named by its content), and the end of a commit
(`write`). `EXCEPTIONS` names every place where an endpoint has a better answer than its row, with the reason.
`docs/reliability.md` shows the same table to people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gitlab_jobs.errors import Conflict, Denied, Forbidden, Missing, StoreError, TooLarge

HTML = {"Content-Type": "text/html"}
JSON = {"Content-Type": "application/json"}
AT_ONCE = {"Retry-After": "0"}

Fault = Mapping[str, Any]


class End(StrEnum):
    """How a request ends."""

    AGAIN = "tried again"
    READ_BACK = "read back, then made once"
    MADE_ANEW = "made anew from the newest files"
    FOLLOWED = "followed"
    REFUSED = "told at once"
    STOPPED = "nothing more is sent"
    ANSWERED = "taken as an answer"
    TOLD_AT_START = "told at the start, for the service manager to try again"


@dataclass(frozen=True)
class Row:
    """One kind of fault; the first of `faults` stands for all of them in the short run."""

    name: str
    faults: Sequence[Fault]
    read: End | None
    write: End
    error: type[Exception] = StoreError
    commit_error: type[Exception] | None = None
    """Where a commit is told more precisely."""


def answer(status: int, body: Any = "", headers: Mapping[str, str] | None = None) -> Fault:
    """A forced answer."""
    return {"action": "status", "status": status, "body": body, "headers": dict(headers or {})}


def said(status: int, *texts: str) -> list[Fault]:
    """Answers as GitLab words them."""
    return [answer(status, {"message": text}) for text in texts]


ROWS = (
    Row("connection lost", [{"action": "drop"}], End.AGAIN, End.READ_BACK),
    Row("reply lost", [{"action": "lose_reply"}], End.AGAIN, End.READ_BACK),
    Row("reply cut short", [{"action": "truncate"}], End.AGAIN, End.READ_BACK),
    Row("unreadable reply", [answer(200, "{", JSON)], End.AGAIN, End.READ_BACK),
    Row("HTML instead of data", [answer(200, "<html>", HTML)], End.AGAIN, End.READ_BACK),
    Row("400", said(400, "400 Bad request - no"), End.REFUSED, End.REFUSED),
    Row(
        "400 that tells of others on the branch",
        said(
            400,
            "9:reference update: reference does not point to expected object.",
            "9:reference update: reference is already locked.",
            "9:Could not update refs/heads/main. Please refresh and try again.",
            "The file has changed since you started editing it: X",
            "A file with this name already exists",
            "A file with this name doesn't exist",
        ),
        None,
        End.MADE_ANEW,
        Conflict,
    ),
    Row(
        "400 that passes on a broken storage",
        said(400, "4:Deadline Exceeded.", "13:internal", "14:connections to all backends failing"),
        None,
        End.READ_BACK,
    ),
    Row("401", said(401, "401 Unauthorized"), End.STOPPED, End.STOPPED, Denied),
    Row("403", said(403, "403 Forbidden"), End.REFUSED, End.REFUSED, Forbidden),
    Row(
        "403 of a rate limit",
        [answer(403, {"message": "API rate limit exceeded"}, AT_ONCE)],
        End.AGAIN,
        End.MADE_ANEW,
    ),
    Row("404", said(404, "404 Project Not Found"), End.REFUSED, End.REFUSED, Missing, Forbidden),
    Row(
        "405 406 410 415 422",
        [answer(status) for status in (405, 406, 410, 415, 422)],
        End.REFUSED,
        End.REFUSED,
    ),
    Row("408 425", [answer(status) for status in (408, 425)], End.AGAIN, End.READ_BACK),
    Row("409", said(409, "409 Conflict: Resource lock"), End.AGAIN, End.MADE_ANEW),
    Row("412", [answer(412)], End.AGAIN, End.MADE_ANEW),
    Row("413", [answer(413, "too large")], End.REFUSED, End.REFUSED, TooLarge),
    Row(
        "429",
        [
            answer(429, "Retry later\n", AT_ONCE),
            answer(429, {"message": {"error": "Try again later."}}, AT_ONCE),
        ],
        End.AGAIN,
        End.MADE_ANEW,
    ),
    Row(
        "500 502 503 504 520-524",
        [answer(status) for status in (503, 500, 502, 504, 520, 521, 522, 523, 524)],
        End.AGAIN,
        End.READ_BACK,
    ),
    Row("507", [answer(507)], End.REFUSED, End.REFUSED),
    Row(
        "redirect within the server",
        [answer(status, headers={"Location": "{url}"}) for status in (302, 301, 307, 308)],
        End.FOLLOWED,
        End.REFUSED,
        Forbidden,
    ),
    Row(
        "redirect to a stranger",
        [answer(302, headers={"Location": "http://stranger.invalid/"})],
        End.REFUSED,
        End.REFUSED,
        Forbidden,
    ),
)

_REFUSALS = ("400", "403", "404", "405 406 410 415 422", "413", "507")
_REDIRECTS = ("redirect within the server", "redirect to a stranger")
_AT_START = (
    "a mistake in the settings or a server that may come back: the daemon ends with an exit code"
)
_NO_BODY = "the reply has no body that could be cut"
_NO_GRAPHQL = "a server without GraphQL for us is asked through REST"
_LINK = "the link may have expired: another one is asked for once"

EXCEPTIONS: Mapping[tuple[str, str], tuple[End, str]] = {
    **{
        (row.name, "account"): (End.TOLD_AT_START, _AT_START)
        for row in ROWS
        if row.read is End.AGAIN
    },
    **{
        (name, "token"): (End.ANSWERED, "other kinds of tokens, and old servers, tell nothing")
        for name in (*_REFUSALS, "redirect to a stranger")
    },
    **{
        (name, use): (End.ANSWERED, _NO_GRAPHQL)
        for name in ("403", "404", *_REDIRECTS)
        for use in ("scan", "files together")
    },
    **{
        (name, "manifest changed?"): (End.ANSWERED, "a project that shows no manifest has no jobs")
        for name in ("403", "404", "redirect to a stranger")
    },
    ("404", "object down"): (End.ANSWERED, f"{_LINK}; then it is missing, and left out"),
    ("403", "object down"): (End.REFUSED, _LINK),
    ("403", "object up"): (End.REFUSED, _LINK),
    ("404", "object up"): (End.REFUSED, _LINK),
    ("401", "object down"): (End.REFUSED, f"{_LINK}; it is the link's credential, not ours"),
    ("401", "object up"): (End.REFUSED, f"{_LINK}; it is the link's credential, not ours"),
    ("redirect to a stranger", "object down"): (End.REFUSED, _LINK),
    ("redirect to a stranger", "object up"): (End.REFUSED, _LINK),
    ("redirect within the server", "object up"): (End.REFUSED, f"only reads are followed; {_LINK}"),
    ("redirect within the server", "where to fetch"): (End.REFUSED, "only reads are followed"),
    ("redirect within the server", "where to send"): (End.REFUSED, "only reads are followed"),
    ("reply cut short", "manifest changed?"): (End.ANSWERED, _NO_BODY),
    ("reply cut short", "object up"): (End.ANSWERED, _NO_BODY),
}
"""By row and use (`fault_uses`): the end that is right there, and why it is not the row's."""


def end_of(row: Row, use: str) -> End:
    """How a repeatable request of one use ends."""
    assert row.read is not None
    exception = EXCEPTIONS.get((row.name, use))
    return exception[0] if exception else row.read
