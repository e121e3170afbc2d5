"""Pages of lists: by page number with totals, and the links both kinds of paging send.

Which lists have totals, and the keyset forms, are the endpoints' business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

from devserver import errors
from devserver.call import Call

MAX_PER_PAGE = 100
_DEFAULT_PER_PAGE = 20
_MAX_COUNTED = 10_000

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for; pages count from 1."""

    number: int
    size: int

    @property
    def start(self) -> int:
        """The index of the first element."""
        return (self.number - 1) * self.size


def asked_page(call: Call) -> Page:
    """Read `page` and `per_page`; a larger page than allowed is clipped."""
    return Page(_positive(call, "page", 1), min(page_size(call), MAX_PER_PAGE))


def page_size(call: Call) -> int:
    """Read `per_page`, at most 100."""
    return min(_positive(call, "per_page", _DEFAULT_PER_PAGE), MAX_PER_PAGE)


def paginate(call: Call, items: Sequence[Item]) -> tuple[Sequence[Item], dict[str, str]]:
    """Return the page asked for and its headers, with totals as long as they are affordable."""
    page = asked_page(call)
    pages = max(-(-len(items) // page.size), 1)
    following = page.number + 1 if page.number < pages else None
    headers = _headers(page, following)
    links = _links(call, page, following)
    if len(items) <= _MAX_COUNTED:
        headers |= {"X-Total": str(len(items)), "X-Total-Pages": str(pages)}
        links.append(link(call, "last", page=pages, per_page=page.size))
    return items[page.start : page.start + page.size], headers | {"Link": ", ".join(links)}


def uncounted_headers(call: Call, page: Page, returned: int) -> dict[str, str]:
    """Return the headers of a list whose length is not known: a full page promises another one."""
    following = page.number + 1 if returned == page.size else None
    links = _links(call, page, following)
    return _headers(page, following) | {"Link": ", ".join(links)}


def link(call: Call, relation: str, **changes: object) -> str:
    """Return a `Link` to the same request with other parameters."""
    kept: Mapping[str, str] = dict(call.request.query_params)
    params = {key: value for key, value in kept.items() if key != "private_token"}
    query = urlencode(params | {key: str(value) for key, value in changes.items()})
    url = f"{call.world.external_url}{call.request.scope['path']}?{query}"
    return f'<{url}>; rel="{relation}"'


def _positive(call: Call, name: str, default: int) -> int:
    value = call.number(name)
    if value is None:
        return default
    if value < 1:
        raise errors.ParameterError(f"{name} does not have a valid value")
    return value


def _headers(page: Page, following: int | None) -> dict[str, str]:
    previous = page.number - 1 if page.number > 1 else None
    return {
        "X-Page": str(page.number),
        "X-Per-Page": str(page.size),
        "X-Next-Page": "" if following is None else str(following),
        "X-Prev-Page": "" if previous is None else str(previous),
    }


def _links(call: Call, page: Page, following: int | None) -> list[str]:
    links = []
    if page.number > 1:
        links.append(link(call, "prev", page=page.number - 1, per_page=page.size))
    if following is not None:
        links.append(link(call, "next", page=following, per_page=page.size))
    links.append(link(call, "first", page=1, per_page=page.size))
    return links
