"""The children of one slot: a fresh one for every job, or one that has kept the last job's model.

    attempt ─► JobChild.start ─► same affinity as the idle child: handed over │ else: that leaves, a fresh one
                       wait ◄── ended: kept idle if it may be ─► its time is over: it leaves

An attempt knows `JobChild` only, which is used like a `ChildProcess`. Which jobs may follow each other in
one process is said by their `Affinity`; what is in that process, the handler has put there (`load_once`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gitlab_jobs.job import Job, Mode
from gitlab_jobs.store import ProjectRef
from runner.log_pipe import Mask
from runner.reusable import Caller, ReusableChild, Turn
from runner.serving import Progress, Serve
from runner.slot import Recycle
from runner.spec import ChildSpec
from runner.verdict import ChildExit

logger = logging.getLogger(__name__)

RECYCLE = Recycle(max_items=200, max_age_s=6 * 3600.0)


class JobChild(Protocol):
    """What an attempt needs of a child."""

    def start(self) -> None:
        """Start it; raises `OSError` where no process can be started."""

    def cancel(self, reason: str) -> None:
        """Ask it to stop, then make it; returns at once."""

    def kill(self, reason: str) -> None:
        """End it now; returns at once."""

    def wait(self, timeout_s: float | None) -> ChildExit | None:
        """Wait for the end; None if it did not come in time."""


OpenChild = Callable[[ChildSpec, Serve, Progress], JobChild]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt runs; `threads` bounds what its libraries start, None leaves it to them."""

    device: str
    open_child: OpenChild
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Affinity:
    """What two jobs must have in common to follow each other in one process.

    A model of the operator's serves all projects; what was made in a project stays there.
    """

    job_type: str
    model: str
    project_id: str | None
    checkpoint: str | None

    @classmethod
    def of(cls, job: Job, project: ProjectRef) -> Affinity | None:
        """A job's; None for one that trains, which always has a process of its own."""
        if job.mode is not Mode.INFERENCE:
            return None
        own = job.model.base_checkpoint
        place = project.id if own or job.extra else None
        return cls(job.job_type.value, job.model.type.lower(), place, own)


class Children:
    """Starts children in one slot; one at a time."""

    def __init__(self, idle_log: Path, mask: Mask, keep_warm_s: float) -> None:
        """Prepare a slot.

        Args:
            idle_log: where a child prints between two jobs.
            mask: removes secrets from what children print.
            keep_warm_s: how long an idle child waits for another job; 0 for not at all.
        """
        self._idle_log = idle_log
        self._mask = mask
        self._keep_warm_s = keep_warm_s
        self._kept: tuple[Affinity, ReusableChild] | None = None

    def for_job(self, affinity: Affinity | None) -> OpenChild:
        """How an attempt at a job of this kind gets its child."""

        def open_child(spec: ChildSpec, serve: Serve, on_progress: Progress) -> JobChild:
            return _Child(self, affinity, spec, Caller(serve, on_progress, lambda _: None))

        return open_child

    def fits(self, affinity: Affinity | None) -> bool:
        """Whether an idle child waits for a job like this."""
        return self._kept is not None and self._kept[0] == affinity and self._kept[1].is_idle

    @property
    def idle_since(self) -> float | None:
        """When the kept child became idle; None without one."""
        return self._kept[1].idle_since if self._kept is not None else None

    def begin(self, affinity: Affinity | None, spec: ChildSpec, caller: Caller) -> Turn:
        """Give a job to the kept child if that fits, else to a fresh one.

        Raises:
            OSError: no process could be started.
        """
        if self.fits(affinity) and self._kept is not None:
            turn = self._kept[1].turn(spec, caller)
            if turn is not None:
                logger.info("process %s goes on with its model", self._kept[1].pid)
                return turn
        self.let_go()
        may_stay = affinity is not None and self._keep_warm_s > 0
        recycle = RECYCLE if may_stay else Recycle(max_items=1)
        child = ReusableChild(self._idle_log, self._mask, recycle)
        turn = child.turn(spec, caller)
        if turn is None:
            raise AssertionError("a child that has not begun is there for its first turn")
        if affinity is not None and may_stay:
            self._kept = affinity, child
        return turn

    def let_go(self, older_than_s: float = 0.0) -> None:
        """End the idle child, if it has been idle for so long."""
        if self._kept is None:
            return
        idle_since = self._kept[1].idle_since
        if idle_since is None or time.monotonic() - idle_since >= older_than_s:
            self._kept[1].leave()
            self._kept = None

    def expire(self) -> None:
        """End the idle child if its time is over."""
        if self._kept is not None and self._kept[1].idle_since is not None:
            self.let_go(self._keep_warm_s)


class _Child:
    """One job's child, whichever it will be."""

    def __init__(
        self, children: Children, affinity: Affinity | None, spec: ChildSpec, caller: Caller
    ) -> None:
        self._children = children
        self._affinity = affinity
        self._spec = spec
        self._caller = caller
        self._turn: Turn | None = None

    def start(self) -> None:
        self._turn = self._children.begin(self._affinity, self._spec, self._caller)

    def cancel(self, reason: str) -> None:
        self._begun.cancel(reason)

    def kill(self, reason: str) -> None:
        self._begun.kill(reason)

    def wait(self, timeout_s: float | None) -> ChildExit | None:
        turn = self._begun
        ended = turn.wait(timeout_s)
        if ended is None or turn.is_first or turn.was_heard or ended.cancel_reason is not None:
            return ended
        # It died while it was idle, or of what an earlier job had done to it.
        logger.warning("a kept process ended before it began: %s; a fresh one starts", ended.detail)
        self.start()
        return None

    @property
    def _begun(self) -> Turn:
        if self._turn is None:
            raise RuntimeError("the child was not started")
        return self._turn
