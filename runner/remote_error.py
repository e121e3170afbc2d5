"""How an exception of a child becomes plain JSON, with what caused it. Knows no frames and no process."""

from __future__ import annotations

import traceback

from runner.frames import JsonObject

MAX_TEXT_CHARS = 100_000
"""Messages and tracebacks longer than this are cut: an error must always fit a frame."""


def describe(error: BaseException, phase: str) -> JsonObject:
    """Turn an exception into the fields of an error frame; `phase` says when it was raised."""
    chain: list[dict[str, str]] = []
    link: BaseException | None = error
    while link is not None and len(chain) < 10:
        chain.append({"kind": type(link).__name__, "message": str(link)[:2000]})
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return {
        "kind": type(error).__name__,
        "code": str(getattr(error, "code", "") or ""),
        "message": str(error)[:MAX_TEXT_CHARS],
        "traceback": "".join(traceback.format_exception(error))[-MAX_TEXT_CHARS:],
        "chain": chain,
        "phase": phase,
    }
