"""The ladder of one job: what it is told after it ran out of GPU memory, and what its result says of that.

    OOM_GPU ─► next rung ─► a fresh child, whose base model comes with a smaller share ─► … ─► OOM_GPU for good
                                                     └─► done: remembered by kind of job and device

A training goes on from its last checkpoint. Knows no child; `children` starts them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from gitlab_jobs.appetite import START, WHOLE, Appetite
from runner.oom_plan import OomPlanner, OomRung
from runner.plan_store import PlanStore

logger = logging.getLogger(__name__)

SPLIT_SHARE = 0.5
"""Of the usual length, once a job's recordings or texts are cut into shorter pieces."""
_WORDS = {
    OomRung.RETRY: "once more",
    OomRung.SPLIT: "in shorter pieces",
    OomRung.HALVE: "with half the batch",
    OomRung.CHECKPOINT: "keeping fewer activations",
    OomRung.PRECISION: "with a lower precision",
    OomRung.CPU: "on the processor",
}


class SmallerSteps:
    """One job's way down."""

    def __init__(self, appetite: Appetite, device: str, plans: PlanStore) -> None:
        """Begin where a job of its kind ended on this device."""
        self._key = f"{appetite.key} on {device}"
        self._plans = plans
        self._planner = OomPlanner(appetite.rules, plans.plan(self._key) or START)

    def next(self, detail: str) -> str | None:
        """Go down; says in words how it goes on, or None when nothing is left."""
        if self._planner.step(detail) is None:
            return None
        words = self._words
        logger.warning("out of GPU memory (%s), trying again %s", self._key, words)
        return f"The GPU's memory did not suffice; trying again {words}"

    def note_success(self) -> None:
        """What it came to is where the next one begins."""
        if self._planner.plan != START:
            self._plans.remember(self._key, self._planner.plan)

    @property
    def changes(self) -> Mapping[str, Any]:
        """Fields of a `ModelChoice` that are other than the operator's settings say."""
        plan = self._planner.plan
        changed: dict[str, Any] = {}
        if plan.batch != START.batch:
            changed |= {"batch_share": plan.batch / WHOLE, "accumulation": plan.accumulation}
        if plan.checkpoints_activations:
            changed["checkpoints_activations"] = True
        if plan.is_split:
            changed["piece_share"] = SPLIT_SHARE
        if plan.precision:
            changed["precision"] = plan.precision
        if plan.max_length_s is not None:
            changed["longest_clip_s"] = plan.max_length_s
        if plan.device == "cpu":
            changed["device"] = plan.device
        return changed

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the job's result says: nothing, where memory sufficed as it was."""
        planner = self._planner
        if planner.plan == START and not planner.tries:
            return {}
        tries = [f"{attempt.rung}: {attempt.detail}"[:500] for attempt in planner.tries]
        return {"memory": {"rung": planner.rung.value, **self.changes, "tries": tries}}

    @property
    def _words(self) -> str:
        if self._planner.rung is OomRung.CAP:
            return f"without recordings longer than {self._planner.plan.max_length_s:g} s"
        return _WORDS[self._planner.rung]

    @property
    def table(self) -> str:
        """All tries, for the log of a job that nothing could save."""
        return "\n".join(f"{attempt.rung}: {attempt.detail}" for attempt in self._planner.tries)
