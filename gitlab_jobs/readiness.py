"""What the service manager is told: ready, alive, what it does now, stopping.

The main loop calls `tell` at every turn; a loop that hangs therefore goes quiet, and systemd's watchdog
restarts the daemon. Without a service manager every call does nothing.
"""

from __future__ import annotations

import time

from sdnotify import SystemdNotifier

LEAST_GAP_S = 1.0
EXTENSION_GAP_S = 10.0
"""How often more time is asked for; each time for three such gaps."""
MOST_EXTENSION_S = 900.0
"""A checkpoint and its upload take minutes; an outage that lasts longer is not waited for."""


class SystemdReadiness:
    """Speaks sd_notify; ready is said once, stopping once as well."""

    def __init__(self) -> None:
        """Say nothing yet."""
        self._notifier = SystemdNotifier()
        self._is_ready = False
        self._told_s = float("-inf")
        self._stopping_since_s: float | None = None
        self._extended_s = float("-inf")

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
        """The daemon has been asked to end and is at it; asks for more time as long as it says so."""
        now_s = time.monotonic()
        if self._stopping_since_s is None:
            self._stopping_since_s = now_s
            self._notifier.notify("STOPPING=1")
        is_patient = now_s - self._stopping_since_s < MOST_EXTENSION_S
        if is_patient and now_s - self._extended_s >= EXTENSION_GAP_S:
            self._extended_s = now_s
            self._notifier.notify(f"EXTEND_TIMEOUT_USEC={int(3e6 * EXTENSION_GAP_S)}")

    def reloading(self) -> None:
        """Settings are being read again."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={now_us}")

    def reloaded(self) -> None:
        """That is over, whatever came of it."""
        self._notifier.notify("READY=1")
