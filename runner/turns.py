"""The child's side of `runner.reusable`: work on one ticket, tell what came of it, ask for the next.

    ticket ─► work ─► request "turn.done" with result and memory ─► a ticket: again │ none: leave with the result

Work that raises ends the process, as it does in a child that has one ticket only: whatever it has left
behind in memory is gone then.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable

from runner.channel import Channel
from runner.frames import JsonObject
from runner.keeper import children_of
from runner.output import flush_output
from runner.peak import own_peak, own_rss_bytes

DONE = "turn.done"
NEXT = "ticket"


def take_turns(
    ticket: JsonObject,
    channel: Channel,
    work: Callable[[JsonObject], JsonObject],
    is_worth_keeping: Callable[[], bool],
) -> JsonObject:
    """Work on tickets until there are no more; returns the last result.

    Args:
        ticket: the first one.
        channel: the line to the parent.
        work: what to do with a ticket.
        is_worth_keeping: asked after each; False lets the process end, with everything in it.
    """
    baseline = 0
    while True:
        result = work(ticket)
        # A process that this one has started may still print, or hold the last ticket's data.
        stays = is_worth_keeping() and not children_of(os.getpid())
        if stays:
            gc.collect()
        # What the first ticket leaves behind (the model, caches) is no growth.
        baseline = baseline or own_rss_bytes()
        flush_output()
        done = {"result": result, "stays": stays, "grown_bytes": own_rss_bytes() - baseline}
        reply = channel.request(DONE, {**done, **_used()}, even_if_stopped=True)
        if NEXT not in reply:
            return result
        ticket = reply[NEXT]


def _used() -> JsonObject:
    times = os.times()
    return {
        "peak": own_peak().to_json(),
        "user_s": times.user + times.children_user,
        "system_s": times.system + times.children_system,
    }
