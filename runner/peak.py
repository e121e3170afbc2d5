"""How much memory a process has held at most, as it can tell itself. Imports no model library.

PyTorch is asked only if the task has loaded it: its allocator's reservation is what a GPU must have room for,
less the context that every process pays for.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from runner.frames import JsonObject

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Peak:
    """The most memory held at one time; 0 where nothing was measured."""

    host_bytes: int = 0
    gpu_bytes: int = 0

    def __or__(self, other: Peak) -> Peak:
        """The larger of each."""
        return Peak(max(self.host_bytes, other.host_bytes), max(self.gpu_bytes, other.gpu_bytes))

    def to_json(self) -> JsonObject:
        """Plain data for a frame or a file."""
        return {"host_bytes": self.host_bytes, "gpu_bytes": self.gpu_bytes}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """Read what `to_json` wrote."""
        return cls(int(data["host_bytes"]), int(data["gpu_bytes"]))


def own_peak() -> Peak:
    """The calling process since it was started, whoever started it."""
    # The kernel's `ru_maxrss` survives an exec and would tell the parent's size; this line does not.
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return Peak(int(line.split()[1]) * 1024, _gpu_bytes(sys.modules.get("torch")))
    return Peak(0, _gpu_bytes(sys.modules.get("torch")))


def own_rss_bytes() -> int:
    """Host memory that the calling process holds now."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * _PAGE_BYTES


def _gpu_bytes(torch: Any) -> int:
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.max_memory_reserved())
