"""Foreign values turned into the types we expect, as leniently as that is safe.

A hand-written manifest says `epochs: "100"` and `canceled: yes`; a response of another worker may say
anything. Every function returns None for an absent value and raises `Unfit` for one that cannot be
meant as the type; the caller knows the field's name and decides whether that matters.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0", ""})
_BLANK_BEFORE_ZONE = re.compile(r"\s+(?=[zZ]$|[-+]\d\d:?\d\d$)")
# Numbers above this are milliseconds, not seconds, since 1970 (it is the year 5138 in seconds).
_MILLISECONDS_FROM = 1e11


class Unfit(ValueError):
    """A value that cannot be meant as what it should be; the message says what was expected."""


def text(value: Any) -> str | None:
    """Text, or a number or switch as text; empty and blank count as absent."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value).strip() or None
    raise Unfit("must be text")


def number(value: Any) -> float | None:
    """A finite number, also when written as text."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unfit("must be a number")
    try:
        result = float(value)
    except (ValueError, OverflowError) as error:
        raise Unfit("must be a number") from error
    if not math.isfinite(result):
        raise Unfit("must be a finite number")
    return result


def whole_number(value: Any) -> int | None:
    """A whole number, also when written as text or as a float; fractions are refused."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    result = number(value)
    if result is None:
        return None
    if not result.is_integer():
        raise Unfit("must be a whole number")
    return int(result)


def switch(value: Any) -> bool | None:
    """True or false, also in the words people use for it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | int):
        word = str(value).strip().casefold()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    raise Unfit("must be true or false")


def instant(value: Any) -> datetime | None:
    """A moment in UTC from ISO 8601 text or a Unix time in seconds or milliseconds.

    Text without a zone is taken as UTC.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(_BLANK_BEFORE_ZONE.sub("", value.strip()))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
            moment = datetime.fromtimestamp(seconds, UTC)
        else:
            raise Unfit("must be a date and time")
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Unfit("must be a date and time") from error
