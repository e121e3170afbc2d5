"""What an operator's signals make a running daemon do; the loop asks for them at every turn.

    HUP    settings are read again; what can change at once does, the rest is named
    USR1   one line a job, then the stacks of all threads
    USR2   debug logging for a quarter of an hour, or no more of it

Stop and drain are the loop's own business. Knows no job.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Protocol

from gitlab_jobs.errors import ConfigError
from gitlab_jobs.settings import WorkerSettings
from runner.signals import Signals

logger = logging.getLogger(__name__)

DEBUG_S = 15 * 60.0
HOT = ("log_level", "log_format", "loop_interval")
"""Settings that need no restart. A token that the server refuses is read again by itself."""


class ServiceManager(Protocol):
    """Who wants to know of a reload."""

    def reloading(self) -> None:
        """Settings are being read again."""

    def reloaded(self) -> None:
        """That is over, whatever came of it."""


class SignalDesk:
    """Holds the settings that count now."""

    def __init__(
        self,
        signals: Signals,
        settings: WorkerSettings,
        *,
        reload: Callable[[], WorkerSettings],
        show_logs: Callable[[str, str], None],
        manager: ServiceManager,
    ) -> None:
        """`reload` reads all sources again; `show_logs` takes a level and a format."""
        self._signals = signals
        self._reload = reload
        self._show_logs = show_logs
        self._manager = manager
        self._debug_until_s: float | None = None
        self.settings = settings

    def attend(self, status: Callable[[], Iterable[str]]) -> None:
        """Do what was asked for since the last call; `status` tells a line a job."""
        if self._signals.take(signal.SIGHUP):
            self._take_settings()
        if self._signals.take(signal.SIGUSR1):
            _tell(status())
        asked = self._signals.take(signal.SIGUSR2)
        is_over = self._debug_until_s is not None and time.monotonic() >= self._debug_until_s
        if asked or is_over:
            self._toggle_debug()

    def _take_settings(self) -> None:
        self._manager.reloading()
        try:
            fresh = self._reload()
        except ConfigError as error:
            logger.error("the settings stay as they were: %s", error)
        else:
            self._swap(fresh)
        finally:
            self._manager.reloaded()

    def _swap(self, fresh: WorkerSettings) -> None:
        old = self.settings
        changed = [
            name for name in type(fresh).model_fields if getattr(fresh, name) != getattr(old, name)
        ]
        # One-shot and service are different ways to run, not two intervals.
        is_other_way = (fresh.loop_interval < 0) != (old.loop_interval < 0)
        hot = {name for name in changed if name in HOT} - (
            {"loop_interval"} if is_other_way else set()
        )
        self.settings = old.model_copy(update={name: getattr(fresh, name) for name in hot})
        self._debug_until_s = None
        self._show_logs(self.settings.log_level, self.settings.log_format)
        logger.info("settings read again; changed: %s", ", ".join(sorted(hot)) or "nothing")
        cold = sorted({*changed} - hot)
        if cold:
            logger.warning("these need a restart: %s", ", ".join(cold))

    def _toggle_debug(self) -> None:
        if self._debug_until_s is not None:
            self._debug_until_s = None
            self._show_logs(self.settings.log_level, self.settings.log_format)
            logger.info("debug logging is off")
            return
        self._debug_until_s = time.monotonic() + DEBUG_S
        self._show_logs("debug", self.settings.log_format)
        logger.info("debug logging is on for %d minutes", DEBUG_S // 60)


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        logger.info("status: %s", line)
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        stack = "".join(traceback.format_stack(frame)).rstrip()
        logger.info("stack of thread %s:\n%s", names.get(ident, ident), stack)
