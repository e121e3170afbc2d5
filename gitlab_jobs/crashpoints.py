"""Named places where a test can pull the plug: between an intention, the act, and the note of its result.

In production `reach` compares a name with nothing and returns. With `SCRIPTORIUM_CRASH_AT=name` (or
`name:3` for the third time it is reached) the process is killed there as by a power cut.

Names are `<side effect>.<moment>`. `intended`: the next line acts. `acted`: it has happened, and only the
outside world knows. `noted`: our own disk knows as well.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "SCRIPTORIUM_CRASH_AT"

POINTS = (
    "start.locked",
    "start.ready",
    "scan.done",
    "claim.intended",
    "claim.acted",
    "acknowledge.intended",
    "acknowledge.acted",
    "refuse.intended",
    "refuse.acted",
    "takeover.intended",
    "takeover.acted",
    "giveup.intended",
    "giveup.acted",
    "attempt.held",
    "workspace.made",
    "workspace.noted",
    "child.started",
    "child.ended",
    "download.intended",
    "download.acted",
    "cache.written",
    "cache.filled",
    "renew.intended",
    "renew.acted",
    "save.intended",
    "save.sent",
    "save.composed",
    "save.acted",
    "save.noted",
    "resume.fetched",
    "resume.acted",
    "upload.intended",
    "upload.acted",
    "upload.staged",
    "takes.intended",
    "takes.acted",
    "takes.staged",
    "ending.intended",
    "ending.written",
    "ending.saved",
    "publish.intended",
    "publish.part",
    "publish.composed",
    "publish.journalled",
    "publish.acted",
    "mend.intended",
    "mend.acted",
    "publish.mended",
    "publish.noted",
    "release.intended",
    "release.acted",
    "release.noted",
    "loss.intended",
    "loss.noted",
    "recovery.looked",
    "recovery.mended",
    "recovery.forgotten",
    "recovery.settled",
    "recovery.taken_up",
    "recovery.renewed",
    "reassert.intended",
    "reassert.acted",
    "prune.intended",
    "prune.acted",
)
"""Every name, in the order in which a job meets them; a test holds this list against the code."""

_reached: Counter[str] = Counter()


def reach(name: str) -> None:
    """Die here if a test asked for it."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    _reached[name] += 1
    wanted_name, _, times = wanted.partition(":")
    if wanted_name == name and _reached[name] == int(times or 1):
        os.kill(os.getpid(), signal.SIGKILL)
