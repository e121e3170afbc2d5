"""What to try when memory does not suffice: the rungs from "once more" to "give up", each with its price. Pure.

    RETRY ─► SPLIT ─► HALVE ↺ (to batch 1) ─► CHECKPOINT ─► PRECISION ─► CAP ↺ ─► CPU ─► give up
    once     windows   accumulation doubled     time           if safe       loses data   if allowed

A rung that a task cannot use is left out. Later rungs keep what earlier ones changed. Knows no task: a `MemoryPlan`
is plain data that travels in the item, and what came of it is told to `OomPlanner`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Self

from runner.frames import JsonObject


class OomRung(StrEnum):
    """What was changed last; the order is the order of trying."""

    START = "start"
    RETRY = "retry"
    """The allocator's cache was emptied: a fresh process, or the task did it."""
    SPLIT = "split"
    HALVE = "halve"
    CHECKPOINT = "checkpoint"
    PRECISION = "precision"
    CAP = "cap"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """How a task should use memory; it must honour what `OomRules` says it can."""

    batch: int = 1
    accumulation: int = 1
    """batch × accumulation is what the optimiser sees; no rung changes the product downwards."""
    is_split: bool = False
    """Shorter windows, bucketed lengths."""
    checkpoints_activations: bool = False
    precision: str = "float32"
    max_length_s: float | None = None
    """Longer items are left out and listed by the task."""
    device: str = "cuda"

    def to_json(self) -> JsonObject:
        """Plain data for an item, a result or a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """Read what `to_json` wrote.

        Raises:
            TypeError: a field is unknown.
        """
        return cls(**data)


@dataclass(frozen=True, slots=True)
class OomRules:
    """What a task can do about memory, and what the operator allows."""

    can_split: bool = False
    can_halve: bool = False
    """Whether it honours `batch` and, in training, `accumulation`."""
    can_checkpoint: bool = False
    safe_precisions: tuple[str, ...] = ()
    """Lower ones that the model declares safe, in order of preference."""
    length_caps_s: tuple[float, ...] = ()
    """Longest first; each loses data, which the task must list."""
    allows_cpu: bool = False


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt that ran out of memory."""

    rung: OomRung
    plan: MemoryPlan
    detail: str

    def to_json(self) -> JsonObject:
        """One line of the table of tries."""
        return {"rung": self.rung.value, "plan": self.plan.to_json(), "detail": self.detail}


@dataclass(slots=True)
class OomPlanner:
    """Where one item stands on the rungs; it only goes down."""

    rules: OomRules
    plan: MemoryPlan
    rung: OomRung = OomRung.START
    tries: list[Try] = field(default_factory=list)
    is_over: bool = False
    """No rung is left."""

    def step(self, detail: str) -> MemoryPlan | None:
        """Take note that the current plan ran out of memory.

        Args:
            detail: what was said, with its numbers.

        Returns:
            What to try next; None when there is nothing left.
        """
        if self.is_over:
            raise ValueError("nothing is left to try")
        self.tries.append(Try(self.rung, self.plan, detail))
        for rung in _ORDER[_ORDER.index(self.rung) :]:
            plan = _apply(rung, self.plan, self.rules, is_again=rung is self.rung)
            if plan is not None:
                self.rung, self.plan = rung, plan
                return plan
        self.is_over = True
        return None

    def to_json(self) -> JsonObject:
        """What belongs into the result: the plan at the end and the way there."""
        return {
            "rung": self.rung.value,
            "plan": self.plan.to_json(),
            "tries": [attempt.to_json() for attempt in self.tries],
        }

    def table(self) -> str:
        """The tries in words, for the error of an item that nothing could save."""
        return "; ".join(
            f"{attempt.rung} (batch {attempt.plan.batch}, {attempt.plan.precision}"
            f" on {attempt.plan.device}): {attempt.detail}"
            for attempt in self.tries
        )


_ORDER = tuple(OomRung)


def _apply(
    rung: OomRung, plan: MemoryPlan, rules: OomRules, *, is_again: bool
) -> MemoryPlan | None:
    """The plan after a rung; None if the rung has nothing (more) to offer."""
    match rung:
        case OomRung.RETRY if not is_again:
            return plan
        case OomRung.SPLIT if rules.can_split and not plan.is_split:
            return replace(plan, is_split=True)
        case OomRung.HALVE if rules.can_halve and plan.batch > 1:
            return _halved(plan)
        case OomRung.CHECKPOINT if rules.can_checkpoint and not plan.checkpoints_activations:
            return replace(plan, checkpoints_activations=True)
        case OomRung.PRECISION if rules.safe_precisions:
            return _lowered(plan, rules)
        case OomRung.CAP:
            return _capped(plan, rules)
        case OomRung.CPU if rules.allows_cpu and plan.device != "cpu":
            return replace(plan, device="cpu")
    return None


def _halved(plan: MemoryPlan) -> MemoryPlan:
    """Round up what accumulates, so that an odd batch loses nothing of the effective one."""
    batch = plan.batch // 2
    effective = plan.batch * plan.accumulation
    return replace(plan, batch=batch, accumulation=-(-effective // batch))


def _lowered(plan: MemoryPlan, rules: OomRules) -> MemoryPlan | None:
    """One step, since the lower ones are all of the same width."""
    if plan.precision in rules.safe_precisions:
        return None
    return replace(plan, precision=rules.safe_precisions[0])


def _capped(plan: MemoryPlan, rules: OomRules) -> MemoryPlan | None:
    for cap_s in rules.length_caps_s:
        if plan.max_length_s is None or cap_s < plan.max_length_s:
            return replace(plan, max_length_s=cap_s)
    return None
