"""Stages that the workflow tests run; each does what its item says."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from typing import Any

from runner.artifacts import Artifact


class Copyist:
    """Writes a file, holds memory on demand, and misbehaves on demand."""

    def __init__(self, name: str, mib: int = 0, diary: str = "") -> None:
        self.name = name
        self.mib = mib
        self.diary = diary

    def setup(self, device: str) -> None:
        """Fill as much memory as a model would, and stay a moment."""
        self.memory = mmap.mmap(-1, (self.mib << 20) or mmap.PAGESIZE)
        for offset in range(0, len(self.memory), mmap.PAGESIZE):
            self.memory[offset] = 1
        if self.mib:
            time.sleep(0.15)
        if self.diary:
            with Path(self.diary).open("a") as diary:
                diary.write(f"{self.name}\n")

    def run(self, told: dict[str, Any]) -> dict[str, Any]:
        """Copy what earlier stages wrote, and add a line."""
        item, folder = told["item"], Path(told["folder"])
        trouble = item.get(self.name)
        if trouble == "fail":
            raise ValueError(f"{self.name} cannot read {item['file']}")
        if trouble == "crash":
            os.abort()
        if trouble == "wait":
            time.sleep(60)
        text = "".join(
            (Path(stage["folder"]) / artifact["name"]).read_text()
            for stage in told["stages"].values()
            for artifact in stage["artifacts"]
        )
        (folder / "text.txt").write_text(f"{text}{self.name} {item['file']}\n")
        artifact = Artifact.of(folder, "text.txt").to_json()
        if trouble == "lie":
            (folder / "text.txt").write_text("something else")
        return {"values": {"pid": os.getpid()}, "artifacts": [artifact]}


class NoStage(Copyist):
    """Returns what no stage returns."""

    def run(self, told: dict[str, Any]) -> dict[str, Any]:
        """Break the contract."""
        return {"values": [1]}


class Unavailable(Copyist):
    """Cannot be set up."""

    def setup(self, device: str) -> None:
        """There is no such model."""
        raise FileNotFoundError("no weights at /models/llm")
