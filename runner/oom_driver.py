"""Runs an item again with less and less memory until it fits, and remembers what did.

    item + plan ─► executor ─► output                     ─► output + "memory": the plan and the tries
                      └─► OOM_GPU ─► OomPlanner.step ─► again, or `TaskFailed(code="OOM_GPU")` with all tries

Knows no pool: any `Executor` will do. The memory of what worked is the caller's file, by model and device.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from runner.atomic import write_json
from runner.errors import RunnerError, SlotDied, TaskFailed
from runner.executor import Executor
from runner.frames import JsonObject
from runner.oom_plan import MemoryPlan, OomPlanner, OomRules
from runner.verdict import Verdict

logger = logging.getLogger(__name__)


class PlanStore:
    """What worked last time, by a key that the caller chooses (model and GPU), in one JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._plans = _read(path)

    def plan(self, key: str) -> MemoryPlan | None:
        """Where to begin; None when nothing ever ran out of memory."""
        return self._plans.get(key)

    def remember(self, key: str, plan: MemoryPlan) -> None:
        """Begin there next time; on disk before this returns."""
        self._plans[key] = plan
        write_json(self._path, {name: known.to_json() for name, known in self._plans.items()})

    def forget(self, key: str) -> None:
        """Begin anew: the model or the GPU's other users have changed."""
        if self._plans.pop(key, None) is not None:
            write_json(self._path, {name: known.to_json() for name, known in self._plans.items()})


@dataclass(frozen=True, slots=True)
class OomDriver:
    """Gives items to an executor, with a plan, until they fit."""

    executor: Executor
    rules: OomRules
    start: MemoryPlan
    store: PlanStore
    key: str
    """Model and GPU, as the caller names them."""

    def run(self, item: JsonObject, timeout_s: float | None = None) -> JsonObject:
        """Run one item; its output gets a `memory` field that tells plan and tries.

        Args:
            item: gets a `memory` field with the plan that the task must follow.
            timeout_s: for each try.

        Raises:
            TaskFailed: with the code `OOM_GPU` and the table of tries when nothing helped.
            RunnerError: anything else that went wrong; it is not tried again here.
        """
        planner = OomPlanner(self.rules, self.store.plan(self.key) or self.start)
        while True:
            asked = {**item, "memory": planner.plan.to_json()}
            try:
                output = self.executor.submit(asked, timeout_s=timeout_s).result()
            except RunnerError as error:
                if not _is_gpu_full(error):
                    raise
                self._go_down(planner, error)
                continue
            # A retry that helped says nothing about the next item.
            if planner.plan != self.start:
                self.store.remember(self.key, planner.plan)
            return {**output, "memory": planner.to_json()}

    def _go_down(self, planner: OomPlanner, error: RunnerError) -> None:
        rung = planner.rung
        if planner.step(str(error)) is None:
            message = f"GPU memory did not suffice: {planner.table()}"
            raise TaskFailed("OutOfMemory", message, code=Verdict.OOM_GPU.value) from error
        logger.warning("%s: out of GPU memory at %s, trying %s", self.key, rung, planner.rung)


def _is_gpu_full(error: RunnerError) -> bool:
    return isinstance(error, (TaskFailed, SlotDied)) and error.code == Verdict.OOM_GPU.value


def _read(path: Path) -> dict[str, MemoryPlan]:
    try:
        plain: JsonObject = json.loads(path.read_text(encoding="utf-8"))
        return {key: MemoryPlan.from_json(plan) for key, plan in plain.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        logger.warning("memory plans are started anew, %s cannot be read: %s", path, error)
        return {}
