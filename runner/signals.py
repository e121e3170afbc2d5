"""What an operator's signals mean to a daemon: flags and a wake-up, nothing done in the handler.

| signal    | request                                             |
|-----------|-----------------------------------------------------|
| TERM, INT | first: stop; second: end now, with this exit status |
| QUIT      | drain: finish what runs, take nothing new           |
| HUP       | reload configuration and credentials                |
| USR1      | tell the status                                     |
| USR2      | toggle debug logging                                |

The main loop waits in `wait` and asks for the flags. Knows no job.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_ONE_SHOT = frozenset({signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})


class Signals:
    """The requests received so far; `installed` must be entered in the main thread."""

    def __init__(self) -> None:
        self._stops: list[int] = []
        self._drains = False
        self._pending: set[int] = set()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def wants_stop(self) -> bool:
        """Stop claiming, let running work save itself, then exit."""
        return bool(self._stops)

    @property
    def wants_end_now(self) -> bool:
        """The operator asked twice."""
        return len(self._stops) > 1

    @property
    def wants_drain(self) -> bool:
        """Take nothing new; what runs may finish."""
        return self._drains

    @property
    def exit_code(self) -> int:
        """128 plus the signal that asked for the end; 0 if none did."""
        return 128 + self._stops[-1] if self._stops else 0

    def take(self, number: signal.Signals) -> bool:
        """Whether HUP, USR1 or USR2 came since the last time it was asked for."""
        if number in self._pending:
            self._pending.discard(number)
            return True
        return False

    def wait(self, timeout_s: float) -> None:
        """Sleep until a signal, a `wake` or the timeout."""
        readable, _, _ = select.select([self._wake_read], [], [], timeout_s)
        if readable:
            with suppress(BlockingIOError):
                while os.read(self._wake_read, 4096):
                    pass

    def wake(self) -> None:
        """End a `wait`; may be called from any thread and from a signal handler."""
        with suppress(BlockingIOError):  # full: the sleeper will wake anyway
            os.write(self._wake_write, b"\0")

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Receive the process's signals inside the block."""
        before = {number: signal.signal(number, self._note) for number in _HANDLED}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def close(self) -> None:
        """Close the wake-up pipe."""
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        # Runs between two instructions of the main thread: no lock, no logging.
        if number == signal.SIGQUIT:
            self._drains = True
        elif number in _ONE_SHOT:
            self._pending.add(number)
        else:
            self._stops.append(number)
        self.wake()
