"""One child's control group: its folders in the kernel's trees, and what can be done with them.

    supervisor  makes it (`runner.cgroup`) ─► worker joins ─► keeper ends the tree, counts, removes it
                                                                └─ was killed itself: the supervisor does

Version 1 of the kernel's interface has a tree per controller, version 2 has one; so a group is one folder or several.
The keeper stays outside, or the kernel could end it together with what it keeps. Knows no child.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_EMPTY_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """What the kernel has noted about a group's memory."""

    kills: int
    """Processes of the group that it has killed, for whatever limit or want."""
    limit_hits: int
    """How often the group's own limit was in the way; 0 with kills: memory ran out around it."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group that has been made."""

    folders: tuple[Path, ...]
    """The first one counts memory."""

    def join(self) -> None:
        """Move the calling process in; what it starts from now on is born there.

        Raises:
            OSError: the group is gone, or may not be entered from where the process is.
        """
        for folder in self.folders:
            (folder / "cgroup.procs").write_text("0", encoding="ascii")

    def counts(self) -> GroupCounts | None:
        """What happened so far; None once the group is gone."""
        memory = self.folders[0]
        events = read_counters(memory / "memory.events")
        if "oom_kill" in events:
            return GroupCounts(events["oom_kill"], events.get("oom", 0))
        kills = read_counters(memory / "memory.oom_control").get("oom_kill")
        return None if kills is None else GroupCounts(kills, _number(memory / "memory.failcnt"))

    def remove(self) -> None:
        """Kill whatever is left in the group and take it away; nothing happens if it is gone."""
        deadline = time.monotonic() + _EMPTY_WITHIN_S
        for folder in self.folders:
            while not _removed(folder) and time.monotonic() < deadline:
                time.sleep(0.01)  # its last process is not quite gone

    def to_json(self) -> list[str]:
        """Plain data for the config frame."""
        return [str(folder) for folder in self.folders]


def read_counters(path: Path) -> dict[str, int]:
    """Read a file of "name number" lines; empty if it cannot be read."""
    counters = {}
    with suppress(OSError):
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            with suppress(ValueError):
                counters[name] = int(value)
    return counters


def members(folder: Path) -> tuple[int, ...]:
    """The processes of a group by id; 0 stands for one that this namespace cannot see."""
    try:
        return tuple(map(int, (folder / "cgroup.procs").read_text(encoding="ascii").split()))
    except OSError:
        return ()


def _number(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _removed(folder: Path) -> bool:
    """Try to end a group, with those that its processes have made below it; True once it is gone."""
    nested = [path for path in folder.rglob("*") if path.is_dir()]
    for each in (*reversed(nested), folder):
        _kill_all(each)
        with suppress(OSError):
            each.rmdir()
    return not folder.exists()


def _kill_all(folder: Path) -> None:
    pids = members(folder)
    if not pids:
        return
    try:
        with (folder / "cgroup.kill").open("r+", encoding="ascii") as file:
            file.write("1")
    except OSError:  # version 1, or an old kernel
        for pid in filter(None, pids):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
