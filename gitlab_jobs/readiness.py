"""What the service manager is told: ready, alive, what it does now, stopping.

The main loop calls `tell` at every turn; a loop that hangs therefore goes quiet, and systemd's watchdog
restarts the daemon. Without a service manager every call does nothing.
"""

from __future__ import annotations

import time

from sdnotify import SystemdNotifier

LEAST_GAP_S = 1.0


class SystemdReadiness:
    """Speaks sd_notify; ready and stopping are said once."""

    def __init__(self) -> None:
        """Say nothing yet."""
        self._notifier = SystemdNotifier()
        self._is_ready = False
        self._is_stopping = False
        self._told_s = float("-inf")

    def ready(self) -> None:
        """The first look at the projects has succeeded."""
        if not self._is_ready:
            self._is_ready = True
            self._notifier.notify("READY=1")

    def tell(self, status: str) -> None:
        """Show that the loop is alive, with one line for people; cheap to call often."""
        now_s = time.monotonic()
        if now_s - self._told_s < LEAST_GAP_S:
            return
        self._told_s = now_s
        self._notifier.notify(f"STATUS={status}\nWATCHDOG=1")

    def stopping(self) -> None:
        """The daemon has been asked to end."""
        if not self._is_stopping:
            self._is_stopping = True
            self._notifier.notify("STOPPING=1")
