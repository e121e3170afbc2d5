"""What a batch has learned about memory on this machine, in two files of the cache folder.

    memory_plans.json   with how little a model works on a GPU that was too small for more: `thrifty`
    memory_peaks.json   how much each stage has held at most: what `--isolation auto` chooses by (`batch.auto`)

Both hold experience, not data: they may be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.gpu import inventory
from runner.oom_driver import OomDriver
from runner.oom_plan import MemoryPlan, OomRules
from runner.plan_store import PlanStore

PLANS_FILE = "memory_plans.json"
PEAKS_FILE = "memory_peaks.json"
_LOWER = {"faster-whisper": "int8", "openai-whisper": "float16"}
"""What takes half the memory and does no harm, by engine."""


def thrifty(engine: Mapping[str, Any], batch_size: int, learned: Mapping[str, Any]) -> OomDriver:
    """How an engine goes down when its GPU is too small, from where it ended last time.

    Args:
        engine: `name`, `model` and `precision`.
        batch_size: usual number of pieces decoded side by side.
        learned: `folder` of what has been learned, and the `device`'s name; empty remembers nothing.
    """
    name, precision = str(engine["name"]), str(engine["precision"])
    lower = _LOWER[name]
    # The original's "auto" is half precision on a GPU already.
    is_low = precision == lower or (name == "openai-whisper" and precision != "float32")
    rules = OomRules(can_halve=True, safe_precisions=() if is_low else (lower,))
    start = MemoryPlan(batch=batch_size, precision=precision)
    if not learned:
        return OomDriver(rules, start)
    store = PlanStore(Path(learned["folder"]) / PLANS_FILE)
    key = f"{name} {engine['model']} {precision} on {learned['device']}"
    return OomDriver(rules, start, store, key)


def device_name(device: str) -> str:
    """What is learned on one GPU holds for all of its kind; any other device goes by its own name."""
    names = (gpu.name for gpu in inventory() if gpu.uuid == device)
    return next(names, device)
