"""The small process between the supervisor and the worker: no process of a tree outlives it.

    supervisor ──exec──► keeper (single thread, no imports of ours) ──fork──► worker ──► anything
         │                 │ subreaper: orphans of the tree become its children
         └─ dies by kill -9 ─► SIGUSR2 (parent-death signal) ─► kills every child until none is left

The keeper speaks no frames: it forwards signals, reaps, and at the end writes one report line about the
worker into a memory file. It knows nothing of what the worker does.

| signal to the keeper | meaning                                  |
|----------------------|------------------------------------------|
| SIGTERM              | pass it on to the worker's process group |
| SIGUSR1              | have the worker write down its stacks    |
| SIGUSR2              | end the tree now                         |
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import NoReturn

from runner.death import adopt_orphans, signal_on_parent_death
from runner.group import Group, GroupCounts

DUMP_STACKS = signal.SIGUSR1
END_TREE = signal.SIGUSR2
_WATCHED = frozenset({signal.SIGCHLD, signal.SIGTERM, DUMP_STACKS, END_TREE})
_UNKILLABLE_AFTER_S = 5.0
"""A process that survives SIGKILL this long sits in the kernel (a driver, a dead disk)."""

_FAR_BEYOND_ANY_DESCRIPTOR = 1 << 30


@dataclass(frozen=True, slots=True)
class KeeperReport:
    """What the keeper saw of the worker; `wait_status` as `os.waitpid` gives it."""

    wait_status: int
    max_rss_bytes: int
    user_s: float
    system_s: float
    unkillable: tuple[int, ...] = ()
    group: GroupCounts | None = None
    """What its control group has counted; None where it had none."""

    def write(self, fd: int) -> None:
        """Leave the report where the supervisor finds it."""
        os.write(fd, json.dumps(astuple(self)).encode())

    @classmethod
    def parse(cls, text: bytes) -> KeeperReport | None:
        """Read what `write` left; None when the keeper was killed before."""
        if not text:
            return None
        status, rss, user_s, system_s, unkillable, group = json.loads(text)
        counts = None if group is None else GroupCounts(*group)
        return cls(status, rss, user_s, system_s, tuple(unkillable), counts)


def keep(
    worker: Callable[[int], NoReturn], report_fd: int, parent_pid: int, group: Group | None = None
) -> NoReturn:
    """Fork the worker (it is given the keeper's pid), watch over it, end its tree and its group, exit."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would hide how children end
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    signal_on_parent_death(END_TREE, parent_pid)
    adopt_orphans()
    keeper_pid = os.getpid()
    worker_pid = os.fork()
    if worker_pid == 0:
        os.setpgid(0, 0)
        worker(keeper_pid)
    with suppress(OSError):  # the worker may have done it first, or be gone
        os.setpgid(worker_pid, worker_pid)
    _let_go_of_descriptors(report_fd)
    report = _Keeper(worker_pid).run()
    if group is not None:
        report = replace(report, group=group.counts())
        group.remove()
    report.write(report_fd)
    os._exit(0)


class _Keeper:
    def __init__(self, worker_pid: int) -> None:
        self._worker_pid = worker_pid
        self._report: KeeperReport | None = None

    def run(self) -> KeeperReport:
        while self._report is None:
            received = signal.sigwaitinfo(_WATCHED).si_signo
            if received == signal.SIGCHLD:
                self._reap()
            elif received == signal.SIGTERM:
                self._signal_group(signal.SIGTERM)
            elif received == DUMP_STACKS:
                with suppress(ProcessLookupError):
                    os.kill(self._worker_pid, DUMP_STACKS)
            else:
                break
        return self._end_tree()

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._worker_pid, number)

    def _reap(self) -> bool:
        """Collect the dead; False when no child is left, dead or alive."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._worker_pid:
                self._report = KeeperReport(
                    status, usage.ru_maxrss * 1024, usage.ru_utime, usage.ru_stime
                )

    def _end_tree(self) -> KeeperReport:
        # A killed child hands its own children to us, so the loop ends when there is no child left,
        # and then there is no descendant left either.
        deadline = time.monotonic() + _UNKILLABLE_AFTER_S
        alive: tuple[int, ...] = ()
        while self._reap():
            alive = children_of(os.getpid())
            if time.monotonic() > deadline:
                break
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, 0.02)
        else:
            alive = ()
        seen = self._report or KeeperReport(signal.SIGKILL, 0, 0.0, 0.0)
        return replace(seen, unkillable=alive)


def children_of(parent_pid: int) -> tuple[int, ...]:
    """List the direct children of a process from `/proc`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            # The command in the second field may hold blanks and brackets; fields count from its end.
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[1]) == parent_pid:
                found.append(int(entry.name))
    return tuple(found)


def _let_go_of_descriptors(report_fd: int) -> None:
    """Keep nothing open that tells somebody the worker still lives."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(3, report_fd)
    os.closerange(report_fd + 1, _FAR_BEYOND_ANY_DESCRIPTOR)
