"""Does a piece of work with less and less GPU memory until it fits, in the process that holds the model.

    work(plan) ─► result                              what helped is where the next piece of work begins,
        └─ out of GPU memory ─► OomPlanner.step ─►        here, and by way of the `PlanStore` in the next process
           work(smaller plan) … ─► `GpuTooSmall` with all tries

Runs in children as well as in a supervisor; knows no model and imports no library of one. Whoever would rather have
a fresh process for every try uses the planner alone.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from runner.frames import JsonObject
from runner.oom_plan import MemoryPlan, OomPlanner, OomRules, Try
from runner.plan_store import PlanStore
from runner.remote_error import describe
from runner.verdict import Verdict, classify_exception

logger = logging.getLogger(__name__)

T = TypeVar("T")


class GpuTooSmall(RuntimeError):
    """Nothing helped; the message is the table of tries. It is caused by the last try's error."""


@dataclass(slots=True)
class OomDriver:
    """One model's on one GPU; for one thread."""

    rules: OomRules
    start: MemoryPlan
    store: PlanStore | None = None
    """None remembers nothing beyond this process."""
    key: str = ""
    """Model and GPU, as the caller names them."""
    plan: MemoryPlan = field(init=False)
    """What the next piece of work begins with."""
    _tries: list[Try] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        known = self.store.plan(self.key) if self.store is not None else None
        self.plan = known or self.start

    def run(self, work: Callable[[MemoryPlan], T]) -> T:
        """Do something that follows a plan.

        Raises:
            GpuTooSmall: with all tries.
            RuntimeError: anything else that went wrong; it is not tried again.
        """
        planner = OomPlanner(self.rules, self.plan)
        while True:
            try:
                result = work(planner.plan)
            except RuntimeError as error:
                if not is_gpu_full(error):
                    raise
                self._go_down(planner, error)
            else:
                self._note_success(planner)
                return result
            # Only now is what the failed try held no longer referred to by its error.
            gc.collect()

    def take_facts(self) -> JsonObject:
        """For a result: the plan and the tries since the last call; empty where memory sufficed as it was."""
        tries, self._tries = self._tries, []
        if self.plan == self.start and not tries:
            return {}
        return {"plan": self.plan.to_json(), "tries": [attempt.to_json() for attempt in tries]}

    def _go_down(self, planner: OomPlanner, error: RuntimeError) -> None:
        rung = planner.rung
        plan = planner.step(f"{type(error).__name__}: {error}")
        self._tries.append(planner.tries[-1])
        if plan is None:
            raise GpuTooSmall(f"GPU memory did not suffice: {planner.table()}") from error
        logger.warning("%s: out of GPU memory at %s, trying %s", self.key, rung, planner.rung)

    def _note_success(self, planner: OomPlanner) -> None:
        # A retry that helped says nothing about what comes next.
        if planner.plan == self.plan:
            return
        self.plan = planner.plan
        if self.store is not None:
            self.store.remember(self.key, planner.plan)


def is_gpu_full(error: BaseException) -> bool:
    """Whether an error, or anything that caused it, says that the GPU's memory did not suffice."""
    chain = describe(error, "")["chain"]
    return any(
        classify_exception(str(link["kind"]), str(link["message"])) is Verdict.OOM_GPU
        for link in chain
    )
