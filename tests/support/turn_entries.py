"""An entry that takes turns: it does what its ticket says and remembers all tickets so far."""

from __future__ import annotations

import os
import time
from typing import Any

from runner.child import Channel
from runner.turns import take_turns


def remember(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Print, grow, wait, ask or fail; the ticket's number is the sum of what it does."""
    seen: list[int] = []
    ballast: list[bytes] = []

    def work(ticket: dict[str, Any]) -> dict[str, Any]:
        os.write(1, f"turn {ticket['number']} without a line end".encode())
        seen.append(ticket["number"])
        channel.progress(number=ticket["number"])
        if ticket.get("grows"):
            ballast.append(os.urandom(ticket["grows"]))
        while ticket.get("waits"):
            channel.check()
            time.sleep(0.01)
        if ticket.get("fails"):
            raise ValueError("no good")
        answer = channel.request("who", {})
        return {"pid": os.getpid(), "seen": list(seen), **answer}

    return take_turns(payload, channel, work, lambda: True)
