"""The warm slot: one child that sets the task up once and then runs item after item.

slot thread ── item ──► handoff ─► serve("next") returns it ─► child runs it
slot thread ◄─ outcome ── outcomes ◄─ serve("next") is called with the outcome
▲
the child's end puts a mark here, so that nobody waits for the dead
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass

from runner.child_process import ChildExit, ChildProcess
from runner.errors import SlotDied, TaskTimeout
from runner.frames import FrameError, JsonObject
from runner.gpu_growth import GpuGrowth
from runner.peak import Peak
from runner.slot import SlotSpec, failure_from, failure_of
from runner.verdict import Verdict

_DEVICE_TROUBLE = frozenset({Verdict.OOM_GPU, Verdict.GPU_ERROR, Verdict.GPU_LOST})
"""After any of these the CUDA context cannot be trusted any more."""


@dataclass(slots=True)
class _Life:
    """One child, from its start to its end."""

    child: ChildProcess
    begun_at: float
    handoff: queue.SimpleQueue[JsonObject | None]
    outcomes: queue.SimpleQueue[JsonObject | None]
    gpu: GpuGrowth
    items: int = 0
    rss_bytes: int = 0
    grown_bytes: int = 0
    trouble: str | None = None


class WarmSlot:
    """Keeps one child alive between items."""

    def __init__(self, spec: SlotSpec) -> None:
        self._spec = spec
        self._life: _Life | None = None
        self._peak = Peak()
        self._is_killed = False

    def load(self, on_spawned: Callable[[], None]) -> None:
        """Start the child and wait until its task is set up."""
        handoff: queue.SimpleQueue[JsonObject | None] = queue.SimpleQueue()
        outcomes: queue.SimpleQueue[JsonObject | None] = queue.SimpleQueue()

        def serve_next(_name: str, outcome: JsonObject) -> JsonObject:
            outcomes.put(outcome)
            item = handoff.get()
            return {} if item is None else {"item": item}

        def on_end() -> None:
            outcomes.put(None)
            handoff.put(None)

        spec = self._spec
        child = spec.child("run_many", spec.payload(), serve_next, _ignore, on_end)
        try:
            child.start()
        except (OSError, FrameError) as error:
            raise SlotDied(Verdict.INTERNAL, f"no process could be started: {error}") from error
        growth = spec.recycle.gpu_growth()
        self._life = _Life(child, time.monotonic(), handoff, outcomes, growth)
        on_spawned()
        if self._is_killed:
            child.kill("closed")
        try:
            self._await_outcome(self._life, spec.load_timeout_s)
        except TaskTimeout:
            self._life = None
            detail = f"setting up took longer than {spec.load_timeout_s:g} s (load_timeout_s)"
            raise SlotDied(Verdict.NO_PROGRESS, detail) from None

    def run(self, item: JsonObject, timeout_s: float) -> JsonObject:
        """Hand the item to the child and wait for what comes of it."""
        life = self._life
        if life is None:
            raise SlotDied(Verdict.INTERNAL, "the slot is not loaded")
        life.handoff.put(item)
        outcome = self._await_outcome(life, timeout_s)
        life.items += 1
        life.grown_bytes = outcome.get("grown_bytes", 0)
        spec = self._spec
        life.gpu.look(lambda: spec.gpu_bytes(spec.device, life.child.pid), time.monotonic())
        if "failed" in outcome:
            failure = failure_from(outcome["failed"])
            if failure.code in _DEVICE_TROUBLE:
                life.trouble = failure.code
            raise failure
        output: JsonObject = outcome["output"]
        return output

    def recycle_reason(self) -> str | None:
        """Items, age, growth of either memory, or a GPU that cannot be trusted."""
        life = self._life
        if life is None:
            return None
        age_s = time.monotonic() - life.begun_at
        return life.trouble or self._spec.recycle.reason(
            life.items, age_s, life.gpu, life.grown_bytes
        )

    def unload(self) -> None:
        """Tell the child that there is no more work, and see it out."""
        life, self._life = self._life, None
        if life is None:
            return
        life.handoff.put(None)
        if life.child.wait(self._spec.limits.leave_timeout_s) is None:
            life.child.kill("unload")
            life.child.wait(None)

    def drop(self) -> None:
        """End the child at once; the waiting call sees its end, and a next load starts another."""
        life = self._life
        if life is not None:
            life.child.kill("dropped")

    def kill(self) -> None:
        """End the child at once, and any that would follow; a waiting call sees its end."""
        self._is_killed = True
        life = self._life
        if life is not None:
            life.child.kill("closed")

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        life = self._life
        return life.child.pid if life is not None else None

    @property
    def rss_bytes(self) -> int:
        """As the child last told."""
        life = self._life
        return life.rss_bytes if life is not None else 0

    @property
    def peak(self) -> Peak:
        """Of all its children so far."""
        return self._peak

    def _await_outcome(self, life: _Life, timeout_s: float) -> JsonObject:
        try:
            outcome = life.outcomes.get(timeout=timeout_s)
        except queue.Empty:
            life.child.kill("timeout")
            life.child.wait(None)
            self._life = None
            raise TaskTimeout(timeout_s) from None
        if outcome is None:
            self._life = None
            raise _end_of(life.child.wait(None))
        life.rss_bytes = outcome["rss_bytes"]
        self._peak |= Peak.from_json(outcome["peak"])
        return outcome


def _end_of(ended: ChildExit | None) -> SlotDied:
    if ended is None:
        return SlotDied(Verdict.INTERNAL, "the child's end is unknown")
    failure = failure_of(ended)
    if isinstance(failure, SlotDied):
        return failure
    verdict = Verdict.CHILD_CRASH if ended.verdict is Verdict.SUCCEEDED else ended.verdict
    return SlotDied(verdict, ended.detail or "the child left")


def _ignore(fields: JsonObject) -> None:
    pass
