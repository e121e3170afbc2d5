"""Tasks that the executor tests run; tiny, and each does what its item says."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

from runner.oom_driver import OomDriver
from runner.oom_plan import MemoryPlan, OomRules
from runner.plan_store import PlanStore


class Recite:
    """Adds up numbers, and misbehaves on demand."""

    def __init__(self, greeting: str = "hello", load_s: float = 0.0, diary: str = "") -> None:
        self.greeting = greeting
        self.load_s = load_s
        self.diary = diary
        self.count = 0
        self.device = ""
        self.hoard: list[bytes] = []

    def setup(self, device: str) -> None:
        """Pretend to load a model."""
        time.sleep(self.load_s)
        self.device = device
        if self.diary:
            with Path(self.diary).open("a") as diary:
                diary.write(f"{os.getpid()}\n")

    def run(self, item: dict[str, Any]) -> dict[str, Any]:
        """Do what the item's `do` says, then tell about itself."""
        self.count += 1
        getattr(self, f"_{item.get('do', 'nothing')}")(item)
        return {
            "text": f"{self.greeting} {item.get('name', '')}".strip(),
            "count": self.count,
            "device": self.device,
            "pid": os.getpid(),
        }

    def _nothing(self, item: dict[str, Any]) -> None:
        pass

    def _sleep(self, item: dict[str, Any]) -> None:
        time.sleep(item["for_s"])

    def _fail(self, item: dict[str, Any]) -> None:
        raise ValueError(f"cannot say {item['name']}")

    def _lose_the_gpu(self, item: dict[str, Any]) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def _crash(self, item: dict[str, Any]) -> None:
        ctypes.string_at(1)

    def _leak(self, item: dict[str, Any]) -> None:
        self.hoard.append(b"x" * item["bytes"])


class WrongAnswer(Recite):
    """Returns what is no JSON."""

    def run(self, item: dict[str, Any]) -> dict[str, Any]:
        """Break the contract."""
        return {"value": object()}


class CannotLoad(Recite):
    """Fails in setup."""

    def setup(self, device: str) -> None:
        """There is no such model."""
        raise FileNotFoundError("no weights at /models/x")


class CannotLoadTwice(Recite):
    """Fails to load when it was loaded before."""

    def setup(self, device: str) -> None:
        """Work the first time only."""
        already = Path(self.diary).exists()
        super().setup(device)
        if already:
            raise OSError("the weights are gone")


class Greedy:
    """Needs memory by its plan, and runs out of it in PyTorch's words when the GPU is too small."""

    def __init__(self, gpu_units: int, rules: dict[str, Any], plans: str) -> None:
        self.gpu_units = gpu_units
        start, store = MemoryPlan(batch=8), PlanStore(Path(plans))
        self.memory = OomDriver(OomRules(**rules), start, store, "whisper on NVIDIA A10")

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def run(self, item: dict[str, Any]) -> dict[str, Any]:
        """Tell how much was needed in the end, and what that took."""
        units = self.memory.run(lambda plan: self.use(plan, item))
        return {"units": units, "memory": self.memory.take_facts()}

    def use(self, plan: MemoryPlan, item: dict[str, Any]) -> int:
        """Count units: batch, halved by what the plan saves; the CPU has room for all."""
        if item.get("other"):
            raise RuntimeError(item["other"])
        units = int(item["units"]) * plan.batch
        for saves in (plan.is_split, plan.checkpoints_activations):
            units = units // 2 if saves else units
        if plan.device != "cpu" and units > self.gpu_units:
            raise RuntimeError(f"CUDA out of memory. Tried to allocate {units}.00 MiB")
        return units
