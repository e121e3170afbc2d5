"""Wakes answers that wait for a change: any thread notes one, requests in the event loop sleep until then.

    number ─► note() ─► number + 1, all sleepers awake

Knows no job: a sleeper looks itself whether the change was for it.
"""

from __future__ import annotations

import asyncio
import threading


class Changes:
    """A counter that can be waited for."""

    def __init__(self) -> None:
        self._number = 0
        self._lock = threading.Lock()
        self._sleepers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._is_over = False

    @property
    def number(self) -> int:
        """How often something has changed."""
        return self._number

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more."""
        return self._is_over

    def note(self) -> None:
        """Something has changed; may be called from any thread."""
        with self._lock:
            self._number += 1
            sleepers, self._sleepers = self._sleepers, set()
        for loop, event in sleepers:
            loop.call_soon_threadsafe(event.set)

    def end(self) -> None:
        """Wake everybody for the last time: the server stops."""
        self._is_over = True
        self.note()

    async def after(self, number: int, timeout_s: float) -> None:
        """Sleep until the counter is another one, or the time is over."""
        event = asyncio.Event()
        sleeper = (asyncio.get_running_loop(), event)
        with self._lock:
            if self._number != number or self._is_over:
                return
            self._sleepers.add(sleeper)
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._sleepers.discard(sleeper)
