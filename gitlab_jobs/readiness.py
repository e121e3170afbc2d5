"""What the service manager is told: ready, alive, what it does now, stopping.

The main loop calls `tell` at every turn; a loop that hangs therefore goes quiet, and systemd's watchdog
restarts the daemon. Without a service manager every call does nothing.
"""

from __future__ import annotations

import time

from sdnotify import SystemdNotifier

LEAST_GAP_S = 1.0


class Readiness:
    """Speaks sd_notify; the first `tell` also says READY."""

    def __init__(self) -> None:
        """Say nothing yet: ready means that the loop has turned once."""
        self._notifier = SystemdNotifier()
        self._is_ready = False
        self._told_s = float("-inf")

    def tell(self, status: str) -> None:
        """Show that the loop is alive, with one line for people; cheap to call often."""
        now_s = time.monotonic()
        if now_s - self._told_s < LEAST_GAP_S:
            return
        self._told_s = now_s
        if not self._is_ready:
            self._is_ready = True
            self._notifier.notify("READY=1")
        self._notifier.notify(f"STATUS={status}\nWATCHDOG=1")

    def stopping(self) -> None:
        """The loop has ended on purpose."""
        self._notifier.notify("STOPPING=1")
