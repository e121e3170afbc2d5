"""Orders for a thread that sleeps in a selector: put in by any thread, carried out by that one."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress


class Inbox:
    """A queue of callables with a descriptor that becomes readable when there are some."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_open = True
        # Guards the descriptor only: its number may be another file's once it is closed.
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def post(self, order: Callable[[], None]) -> None:
        """Leave an order; ignored once the inbox is closed."""
        with self._lock:
            if self._is_open:
                self._orders.put(order)
                os.eventfd_write(self._fd, 1)

    def carry_out(self) -> None:
        """Run what has been left, oldest first."""
        os.eventfd_read(self._fd)
        with suppress(queue.Empty):
            while True:
                self._orders.get_nowait()()

    def close(self) -> None:
        """Accept nothing more."""
        with self._lock:
            self._is_open = False
            os.close(self._fd)
