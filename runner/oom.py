"""Counts the kernel's out-of-memory kills, so that an unexplained SIGKILL can be explained.

Knows no child: it compares counters from before and after. Other processes of the machine may have been
the victim of a host-wide kill; together with our child's own SIGKILL it is still the best explanation.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OomCounts:
    """Kills so far; a counter that this kernel does not offer stays 0."""

    host: int
    cgroup: int

    def since(self, earlier: OomCounts) -> OomCounts:
        """Kills between two readings."""
        return OomCounts(self.host - earlier.host, self.cgroup - earlier.cgroup)


def read_oom_counts(root: Path = Path("/")) -> OomCounts:
    """Read the counters of the machine and of the calling process's own memory group."""
    host = _counter(root / "proc/vmstat", "oom_kill")
    cgroup = 0
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            group = path.lstrip("/")
            if controllers == "":
                cgroup += _counter(root / "sys/fs/cgroup" / group / "memory.events", "oom_kill")
            elif "memory" in controllers.split(","):
                v1 = root / "sys/fs/cgroup/memory" / group / "memory.oom_control"
                cgroup += _counter(v1, "oom_kill")
    return OomCounts(host, cgroup)


def _counter(path: Path, name: str) -> int:
    with suppress(OSError):
        for line in path.read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
