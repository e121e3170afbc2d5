"""An executor that runs an item again with less and less memory until it fits, and remembers what did.

    item + plan ─► executor ─► output                     ─► output + "memory": the plan and the tries
                      └─► OOM_GPU ─► OomPlanner.step ─► again, or `TaskFailed(code="OOM_GPU")` with all tries

Knows no pool: it goes around any `Executor`. Its task gets the plan as a field of the item and must follow it.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass

from runner.errors import RunnerError, SlotDied, TaskFailed
from runner.executor import Executor
from runner.frames import JsonObject
from runner.oom_plan import MemoryPlan, OomPlanner, OomRules
from runner.plan_store import PlanStore
from runner.stats import PoolStatus
from runner.verdict import Verdict

logger = logging.getLogger(__name__)

PLAN = "memory"
"""The field of an item that holds the plan, and of an output that tells what it came to."""


@dataclass(frozen=True, slots=True)
class OomSteps:
    """How a kind of work goes down, and from where."""

    rules: OomRules
    start: MemoryPlan
    store: PlanStore
    key: str
    """Model and GPU, as the caller names them."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One item on its way down."""

    item: JsonObject
    timeout_s: float | None
    audio_s: float
    planner: OomPlanner
    future: Future[JsonObject]


class OomDriver:
    """Goes around an executor. Safe from any thread."""

    def __init__(self, executor: Executor, steps: OomSteps) -> None:
        """Begin where the last item of this kind ended."""
        self._executor = executor
        self._steps = steps

    def submit(
        self, item: JsonObject, *, timeout_s: float | None = None, audio_s: float = 0.0
    ) -> Future[JsonObject]:
        """Queue one item; see `Executor.submit`. The time is for each try; the future cannot be cancelled.

        Its output gets a `memory` field if memory did not suffice as it was, now or before.
        """
        steps = self._steps
        planner = OomPlanner(steps.rules, steps.store.plan(steps.key) or steps.start)
        future: Future[JsonObject] = Future()
        future.set_running_or_notify_cancel()
        self._try(_Asked(item, timeout_s, audio_s, planner, future))
        return future

    def status(self) -> PoolStatus:
        """The executor's."""
        return self._executor.status()

    def close(self, grace_s: float = 30.0) -> None:
        """Close the executor."""
        self._executor.close(grace_s)

    def _try(self, asked: _Asked) -> None:
        item = {**asked.item, PLAN: asked.planner.plan.to_json()}
        going = self._executor.submit(item, timeout_s=asked.timeout_s, audio_s=asked.audio_s)
        going.add_done_callback(lambda ended: self._settle(asked, ended))

    def _settle(self, asked: _Asked, ended: Future[JsonObject]) -> None:
        """Hand the end of a try on, or begin another one; called by whoever ended it."""
        error = ended.exception()
        try:
            if error is None:
                asked.future.set_result(self._told(asked.planner, ended.result()))
            elif _is_gpu_full(error):
                self._go_down(asked.planner, error)
                self._try(asked)
            else:
                asked.future.set_exception(error)
        except RunnerError as given_up:
            asked.future.set_exception(given_up)

    def _told(self, planner: OomPlanner, output: JsonObject) -> JsonObject:
        steps = self._steps
        if planner.plan != steps.start:
            steps.store.remember(steps.key, planner.plan)
        elif not planner.tries:
            return output
        return {**output, PLAN: planner.to_json()}

    def _go_down(self, planner: OomPlanner, error: BaseException) -> None:
        rung = planner.rung
        if planner.step(str(error)) is None:
            message = f"GPU memory did not suffice: {planner.table()}"
            raise TaskFailed("OutOfMemory", message, code=Verdict.OOM_GPU.value) from error
        logger.warning(
            "%s: out of GPU memory at %s, trying %s", self._steps.key, rung, planner.rung
        )


def _is_gpu_full(error: BaseException) -> bool:
    return isinstance(error, (TaskFailed, SlotDied)) and error.code == Verdict.OOM_GPU.value
