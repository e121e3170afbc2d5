"""Finds out whether the kernel's control groups are ours to use, and makes one for each child.

    version 1   below our own group of the memory tree (and of the pids tree)   as root, mostly
    version 2   below a group that was delegated to us (systemd: `Delegate=yes`)
                  the supervisor moves into a leaf first: a group with processes of its own lends no controllers

Where neither works, limits are soft: `runner.tree_memory` samples. Nobody else's group is ever touched. Knows
no child; `runner.group` is what it hands out.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from runner.group import Group, members
from runner.limits import Limits
from runner.marker import Marker, is_gone

logger = logging.getLogger(__name__)

_PREFIX = "scriptorium-"
_LEAF = "supervisor"
"""Where the supervisor itself lives in a delegated group."""


class NoGroups(Exception):
    """This process cannot make control groups, for the reason in the message."""


@dataclass(frozen=True, slots=True)
class GroupHome:
    """The folders below which groups can be made, each with what it can limit."""

    memory: Path
    tasks: Path | None
    """None: no tree counts processes for us. The same folder in version 2."""
    version: int

    def make(self, marker: Marker, limits: Limits) -> Group | None:
        """Make a child's group; None if the kernel refuses, which is told in the log."""
        name = f"{_PREFIX}{marker.supervisor}-{marker.child_id[:12]}"
        homes = dict.fromkeys(home for home in (self.memory, self.tasks) if home is not None)
        group = Group(tuple(home / name for home in homes))
        try:
            for folder in group.folders:
                folder.mkdir()
            self._bind(group, limits)
        except OSError as error:
            logger.warning("no control group for a child, its limits are soft: %s", error)
            group.remove()
            return None
        return group

    def sweep(self) -> None:
        """Remove the empty groups of supervisors that are gone."""
        for home in {self.memory, self.tasks or self.memory}:
            for folder in home.glob(f"{_PREFIX}*"):
                supervisor, _, _ = folder.name.removeprefix(_PREFIX).partition("-")
                if is_gone(supervisor):
                    with suppress(OSError):  # somebody lives there after all
                        folder.rmdir()

    def _bind(self, group: Group, limits: Limits) -> None:
        # No `memory.high`: without swap it makes the way to the limit minutes long, and hides the reason.
        memory, tasks = group.folders[0], group.folders[-1]
        if limits.memory_bytes is not None:
            # Of version 1's limit for memory with swap the kernel does not tell that it was met.
            limit, swap = {
                1: ("memory.limit_in_bytes", "memory.swappiness"),
                2: ("memory.max", "memory.swap.max"),
            }[self.version]
            _write(memory / limit, limits.memory_bytes)
            with suppress(OSError):  # a kernel without swap
                _write(memory / swap, 0)
        if self.version == 2:
            # One process less is no smaller job: all of it ends, and ends at once.
            with suppress(OSError):
                _write(memory / "memory.oom.group", 1)
        if self.tasks is not None and limits.tasks is not None:
            with suppress(OSError):
                _write(tasks / "pids.max", limits.tasks)


@functools.cache
def process_groups() -> GroupHome | None:
    """Where this process makes its children's groups; found out when first needed."""
    try:
        home = find_home()
    except NoGroups as reason:
        logger.info("memory limits of children are soft: %s", reason)
        return None
    logger.info("children get control groups below %s", home.memory)
    home.sweep()
    return home


def find_home(root: Path = Path("/")) -> GroupHome:
    """Look for a place; in version 2 this may move the calling process into a leaf.

    Args:
        root: of the file system with `/proc` and `/sys`.

    Raises:
        NoGroups: there is none.
    """
    own = dict(own_groups(root))
    if "memory" in own:
        return _home_in_trees(own["memory"], own.get("pids"))
    if "" in own:
        return _home_in_one_tree(own[""])
    raise NoGroups("no control groups are mounted here")


def own_groups(root: Path = Path("/")) -> Iterator[tuple[str, Path]]:
    """The calling process's group in each tree: by controller in version 1, by "" in version 2."""
    mounts = list(_mounts(root))
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            for kind, options, top, point in mounts:
                is_it = not controllers if kind == "cgroup2" else controllers in options
                if is_it and Path(path).is_relative_to(top):
                    yield controllers, point / Path(path).relative_to(top)
                    break


def _mounts(root: Path) -> Iterator[tuple[str, tuple[str, ...], Path, Path]]:
    """Kind, options, root within the tree, and place of every mounted tree of groups."""
    with suppress(OSError):
        for line in (root / "proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
            place, _, kind = line.partition(" - ")
            top, point = place.split()[3:5]
            name, _, options = kind.split(maxsplit=2)
            if name in ("cgroup", "cgroup2"):
                yield name, tuple(options.split(",")), Path(top), root / point.lstrip("/")


def _home_in_trees(memory: Path, tasks: Path | None) -> GroupHome:
    if not os.access(memory, os.W_OK):
        raise NoGroups(f"{memory} may not be written")
    is_counted = tasks is not None and os.access(tasks, os.W_OK)
    return GroupHome(memory, tasks if is_counted else None, version=1)


def _home_in_one_tree(own: Path) -> GroupHome:
    home = own.parent if own.name == _LEAF else own
    offered = _words(home / "cgroup.controllers")
    if "memory" not in offered:
        raise NoGroups(f"{home} has no memory controller")
    if not os.access(home / "cgroup.procs", os.W_OK):
        raise NoGroups(f"{home} is not delegated to us (systemd: Delegate=yes)")
    lent = _words(home / "cgroup.subtree_control")
    if "memory" not in lent:
        lent = offered & {"memory", "pids"}
        try:
            _vacate(home)
            _write(home / "cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(lent)))
        except OSError as error:
            raise NoGroups(f"{home} lends no controllers: {error}") from error
    return GroupHome(home, home if "pids" in lent else None, version=2)


def _vacate(home: Path) -> None:
    """Move ourselves and what we have started into a leaf; refuse if anybody else lives there."""
    me = psutil.Process()
    ours = {me.pid, *(child.pid for child in me.children(recursive=True))}
    there = members(home)
    if not _is_delegated(home):
        raise NoGroups(f"{home} is not delegated to us (systemd: Delegate=yes)")
    if strangers := sorted(set(there) - ours):
        raise NoGroups(f"other processes live in {home}: {strangers[:3]}")
    leaf = home / _LEAF
    leaf.mkdir(exist_ok=True)
    for pid in there:
        with suppress(ProcessLookupError):
            _write(leaf / "cgroup.procs", pid)


def _is_delegated(home: Path) -> bool:
    """Whether it is ours by owner, or by the mark that systemd leaves; root owns far too much."""
    if os.geteuid() != 0:
        return home.stat().st_uid == os.geteuid()
    for mark in ("trusted.delegate", "user.delegate"):
        with suppress(OSError):
            if os.getxattr(home, mark) == b"1":
                return True
    return False


def _words(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="ascii").split())
    except OSError:
        return set()


def _write(path: Path, value: int | str) -> None:
    path.write_text(str(value), encoding="ascii")
