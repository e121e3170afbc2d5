"""The children of one slot: a fresh one for every job, or one that has kept the last job's model.

    attempt ─► JobChild.start ─► same affinity as the idle child: handed over │ else: that leaves, a fresh one
                       wait ◄── ended: kept idle if it may be ─► its time is over: it leaves
                            └── out of GPU memory: another one, with smaller steps │ a sick GPU: given back

An attempt knows `JobChild` only, which is used like a `ChildProcess`. Which jobs may follow each other in
one process is said by their `Affinity`; what is in that process, the handler has put there (`load_once`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from gitlab_jobs.appetite import Appetite
from gitlab_jobs.device_watch import DeviceWatch
from gitlab_jobs.job import CancelReason, Job, Mode
from gitlab_jobs.smaller_steps import SmallerSteps
from gitlab_jobs.store import ProjectRef
from gitlab_jobs.workload import Workload
from runner.frames import JsonObject
from runner.gpu import Gpu
from runner.log_pipe import Mask
from runner.peak import Peak
from runner.plan_store import PlanStore
from runner.reusable import Caller, ReusableChild, Turn
from runner.serving import Progress, Serve
from runner.slot import Recycle
from runner.spec import ChildSpec
from runner.verdict import ChildExit, Verdict

logger = logging.getLogger(__name__)

RECYCLE = Recycle(max_items=200, max_age_s=6 * 3600.0, gpu_interval_s=0.0, gpu_settling=3)
"""A turn is a whole job: its batches have shown after three of them what they take."""
MODEL_REQUEST = "model"
"""The child's request whose reply, a `ModelChoice`, says how much memory to use."""


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


OpenChild = Callable[[ChildSpec, Serve, Progress, Callable[[], None]], JobChild]
"""With what `ChildProcess` takes, and what to call before another process begins the job again."""


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


@dataclass(frozen=True, slots=True)
class Common:
    """What the slots of a box share.

    `mask` removes secrets from what children print. `keep_warm_s` is how long an idle child waits for
    another job; 0 for not at all.
    """

    watch: DeviceWatch
    workload: Workload
    plans: PlanStore
    mask: Mask
    keep_warm_s: float


@dataclass(frozen=True, slots=True)
class Needs:
    """What is to be known of a job before it gets a place."""

    job_id: str
    affinity: Affinity | None
    appetite: Appetite


class Children:
    """Starts children in one slot; one at a time."""

    def __init__(self, device: str, common: Common, idle_log: Path) -> None:
        """Prepare a slot on a device; between two jobs its child prints into `idle_log`."""
        self.device = device
        self.common = common
        self._idle_log = idle_log
        self._child: ReusableChild | None = None
        self._affinity: Affinity | None = None
        self._before: Gpu | None = None

    def for_job(self, needs: Needs) -> OpenChild:
        """How an attempt at such a job gets its child."""

        def open_child(
            spec: ChildSpec, serve: Serve, on_progress: Progress, on_again: Callable[[], None]
        ) -> JobChild:
            return _Child(self, needs, spec, Caller(serve, on_progress, _ignore), on_again)

        return open_child

    def fits(self, affinity: Affinity | None) -> bool:
        """Whether an idle child waits for a job like this."""
        return affinity is not None and self._affinity == affinity and self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether a child waits for a job."""
        return self._child is not None and self._child.is_idle

    @property
    def idle_since(self) -> float | None:
        """When the child became idle (monotonic); None without an idle one."""
        return self._child.idle_since if self._child is not None else None

    @property
    def pid(self) -> int | None:
        """The newest child's process."""
        return self._child.pid if self._child is not None else None

    def begin(self, affinity: Affinity | None, spec: ChildSpec, caller: Caller) -> Turn:
        """Give a job to the idle child if that fits, else to a fresh one.

        Raises:
            OSError: no process could be started.
        """
        if self._child is not None and self.fits(affinity):
            turn = self._child.turn(spec, caller)
            if turn is not None:
                logger.info("process %s goes on with its model", self._child.pid)
                return turn
        self.let_go()
        may_stay = affinity is not None and self.common.keep_warm_s > 0
        self._affinity = affinity if may_stay else None
        self._before = self.common.watch.reading(self.device)
        recycle = RECYCLE if may_stay else Recycle(max_items=1)
        watch = self.common.watch
        self._child = ReusableChild(self._idle_log, self.common.mask, recycle, watch.held_bytes)
        begun = time.monotonic()
        turn = self._child.turn(spec, caller)
        self.common.workload.note_load(time.monotonic() - begun)
        if turn is None:
            raise AssertionError("a child that has not begun is there for its first turn")
        return turn

    def let_go(self) -> None:
        """End the idle child, if there is one."""
        ended = self._child.leave() if self._child is not None else None
        if ended is not None:
            self.look_after(ended)

    def expire(self) -> None:
        """End the idle child if its time is over."""
        since = self.idle_since
        if since is not None and time.monotonic() - since >= self.common.keep_warm_s:
            self.let_go()

    def note_end(self, ended: ChildExit) -> None:
        """Its process has gone with a job: for its own sake, or because it had to."""
        self.look_after(ended)
        child = self._child
        reason = child.left_for if child is not None else None
        if ended.verdict is not Verdict.SUCCEEDED:
            reason = ended.verdict.value
        if reason is not None:
            self.common.workload.note_replacement(reason)

    def look_after(self, ended: ChildExit) -> None:
        """See that the device is as it was before the child that has ended."""
        self.common.watch.look_after(self.device, self._before, self.pid, ended)


class _Child:
    """One job's child, or children: it may take several until a job has the memory it needs."""

    def __init__(
        self,
        children: Children,
        needs: Needs,
        spec: ChildSpec,
        caller: Caller,
        on_again: Callable[[], None],
    ) -> None:
        self._children = children
        self._watch = children.common.watch
        self._needs = needs
        self._spec = spec
        self._attempt = caller
        self._on_again = on_again
        self._caller = Caller(self._serve_with_less, caller.on_progress, self._learn)
        self._steps = SmallerSteps(needs.appetite, children.device, children.common.plans)
        self._turn: Turn | None = None
        self._asked_to_stop: str | None = None

    def start(self) -> None:
        self._turn = self._children.begin(self._needs.affinity, self._spec, self._caller)

    def cancel(self, reason: str) -> None:
        self._asked_to_stop = reason
        self._begun.cancel(reason)

    def kill(self, reason: str) -> None:
        self._asked_to_stop = reason
        self._begun.kill(reason)

    def wait(self, timeout_s: float | None) -> ChildExit | None:
        turn = self._begun
        ended = turn.wait(timeout_s)
        if ended is None:
            return None
        if not turn.has_left_child:
            self._children.note_end(ended)
        if ended.verdict is Verdict.SUCCEEDED:
            return self._with_facts(ended)
        if self._asked_to_stop is None and self._goes_on(turn, ended):
            self._begin_again()
            return None
        if self._watch.is_to_blame(self._children.device, ended, self._needs.job_id):
            # Told as a stop: the job is given back, to another device of this box or to another box.
            return replace(
                ended, verdict=Verdict.CANCELED, cancel_reason=CancelReason.SHUTDOWN.value
            )
        return ended

    def _begin_again(self) -> None:
        self._on_again()
        self.start()
        if self._asked_to_stop is not None:  # meanwhile: the process before was told, too late
            self._begun.cancel(self._asked_to_stop)

    def _goes_on(self, turn: Turn, ended: ChildExit) -> bool:
        """Whether another child is to go on with the job."""
        if not turn.is_first and not turn.was_heard:
            # It died while it was idle, or of what an earlier job had done to it.
            self._note(f"A kept process ended before it began ({ended.detail}); a fresh one starts")
            return True
        if ended.verdict is not Verdict.OOM_GPU:
            return False
        words = self._steps.next(ended.detail)
        self._note(words or f"Nothing more can be tried:\n{self._steps.table}")
        if words is not None:
            self._attempt.on_progress({"message": words})
        return words is not None

    def _note(self, text: str) -> None:
        """Write a line into the job's log, which no child has open now."""
        logger.warning("job %s: %s", self._needs.job_id, text)
        with self._spec.log_path.open("a", encoding="utf-8") as log:
            log.write(f"{text}\n")

    def _with_facts(self, ended: ChildExit) -> ChildExit:
        self._steps.note_success()
        result = ended.result or {}
        if self._steps.facts:
            result = {**result, "facts": {**result.get("facts", {}), **self._steps.facts}}
        return replace(ended, result=result)

    def _serve_with_less(self, name: str, payload: JsonObject) -> JsonObject:
        reply = self._attempt.serve(name, payload)
        return {**reply, **self._steps.changes} if name == MODEL_REQUEST else reply

    def _learn(self, peak: Peak) -> None:
        self._watch.learn(self._needs.appetite, self._children.device, peak, self._children.pid)

    @property
    def _begun(self) -> Turn:
        if self._turn is None:
            raise RuntimeError("the child was not started")
        return self._turn


def _ignore(_: object) -> None:
    pass
