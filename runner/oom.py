"""Counts the kernel's out-of-memory kills, so that an unexplained SIGKILL can be explained.

A child with a control group of its own has its own counter, which is exact. For any other the counters of the
machine and of the supervisor's group are compared, before and after: somebody else may have been the victim, but
together with our child's SIGKILL it is the best explanation there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runner.cgroup import own_groups
from runner.group import Group, GroupCounts, read_counters


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
    host = read_counters(root / "proc/vmstat").get("oom_kill", 0)
    counted = (Group((folder,)).counts() for _, folder in own_groups(root))
    return OomCounts(host, sum(counts.kills for counts in counted if counts is not None))


def explain_kill(around: OomCounts, own: GroupCounts | None) -> OomCounts:
    """The kills that may have been a child's end.

    Args:
        around: counted by the machine and by the supervisor's group while the child lived.
        own: counted by the child's group; None where it had none.
    """
    if own is None:
        return around
    if own.limit_hits or around.cgroup:
        return OomCounts(0, own.kills)
    return OomCounts(own.kills, 0)
