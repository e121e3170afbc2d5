"""Checks at the edge of an executor that what goes in and out can cross to another process."""

from __future__ import annotations

from runner.frames import FrameEncoder, FrameError, JsonObject


def check_json(value: JsonObject) -> None:
    """Refuse what no frame can carry, where the caller can still see who made it.

    Raises:
        FrameError: it is no JSON object, or too large.
    """
    if not isinstance(value, dict):
        raise FrameError(f"expected a JSON object, got {type(value).__name__}")
    FrameEncoder().encode("reply", {"item": value})
