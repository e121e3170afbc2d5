"""The parent side of one child: start it, serve it, watch it, end it, and say what ended it.

Callers see `ChildSpec` in and `ChildExit` out. Knows no job: `serve` decides what a request means.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from runner.cgroup import process_groups
from runner.environment import child_environment, prepare_directories
from runner.frames import JsonObject
from runner.group import Group
from runner.launch import Launched, launch_exec
from runner.limits import Limits
from runner.log_pipe import Mask
from runner.marker import Marker
from runner.minder import Minder
from runner.serving import Progress, Serve, StopChild
from runner.spec import ChildSpec
from runner.verdict import ChildExit, RemoteError, Usage, Verdict

__all__ = [
    "ChildExit",
    "ChildProcess",
    "ChildSpec",
    "JsonObject",
    "Limits",
    "RemoteError",
    "StopChild",
    "Usage",
    "Verdict",
]

Launch = Callable[[Path, Mapping[str, str]], Launched]


def _unmasked(line: bytes) -> bytes:
    return line


def _nothing() -> None:
    pass


def _make_group(marker: Marker, limits: Limits) -> Group | None:
    home = process_groups() if limits.has_group else None
    return home.make(marker, limits) if home is not None else None


class ChildProcess:
    """One child, from start to its exit. Methods may be called from any thread."""

    def __init__(
        self,
        spec: ChildSpec,
        *,
        serve: Serve,
        on_progress: Progress,
        mask: Mask = _unmasked,
        launch: Launch = launch_exec,
        on_end: Callable[[], None] = _nothing,
    ) -> None:
        """Prepare a child without starting it.

        Args:
            spec: what to run.
            serve: carries out the child's requests, one at a time, in a thread of this process. What
                it raises becomes the child's `RequestFailed`; `StopChild` ends the child.
            on_progress: told the child's newest progress; must return quickly.
            mask: removes secrets from one line of the child's output before it reaches the disk.
            launch: starts the process; a fresh interpreter by default.
            on_end: told that the processes are gone, before `wait` returns and before a request that
                is still being carried out is waited for; must return at once.
        """
        self._spec = spec
        self._launch = launch
        self._serve = serve
        self._on_progress = on_progress
        self._mask = mask
        self._on_end = on_end
        self._minder: Minder | None = None
        self._early_reason: str | None = None
        self._start_lock = threading.Lock()

    def start(self) -> None:
        """Start the process; it settles in on its own.

        Raises:
            OSError: no process could be started, or the work directory cannot be used.
            RuntimeError: it was started before.
            FrameError: the payload is no JSON or too large.
        """
        if self._minder is not None:
            raise RuntimeError("a child is started once")
        spec = self._spec
        prepare_directories(spec.work_dir)
        marker = Marker.new()
        environment = child_environment(
            spec.work_dir, spec.device, spec.limits, spec.environment, marker
        )
        group = _make_group(marker, spec.limits)
        with ExitStack() as undo:
            if group is not None:
                undo.callback(group.remove)
            launched = self._launch(spec.work_dir, environment)
            undo.callback(launched.abandon)
            minder = Minder(spec, launched, marker, group, self._mask)
            undo.pop_all()
        minder.start(self._serve, self._on_progress, self._on_end)
        with self._start_lock:
            self._minder = minder
        if self._early_reason is not None:
            minder.cancel(self._early_reason)

    @property
    def pid(self) -> int:
        """The process that runs the entry; the root of its tree until it has said hello."""
        return self._started.pid

    def cancel(self, reason: str) -> None:
        """Ask the child to stop, then make it; returns at once. The first reason stays.

        Before `start` the reason is kept: the child will stop as soon as it can listen.
        """
        with self._start_lock:
            if self._minder is None:
                self._early_reason = self._early_reason or reason
                return
        self._minder.cancel(reason)

    def kill(self, reason: str) -> None:
        """End the child's whole tree now; returns at once."""
        self._started.kill(reason)

    def wait(self, timeout_s: float | None) -> ChildExit | None:
        """Wait for the end; None if it did not come in time."""
        return self._started.wait(timeout_s)

    def redirect_log(self, path: Path, then: Callable[[], None] = _nothing) -> None:
        """Send what the child prints from now on to another file; returns at once.

        Args:
            path: appended to.
            then: called when all that had been printed is in the file it belongs to, which is now closed;
                never, if the child has ended.
        """
        self._started.redirect_log(path, then)

    @property
    def _started(self) -> Minder:
        if self._minder is None:
            raise RuntimeError("the child was not started")
        return self._minder
