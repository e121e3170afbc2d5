"""Named places where a test can pull the plug: between an intention, the act, and the note of its result.

In production `reach` compares a name with nothing and returns. With `SCRIPTORIUM_CRASH_AT=name` (or
`name:3` for the third time it is reached) the process is killed there as by a power cut.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "SCRIPTORIUM_CRASH_AT"

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
