"""Marks a child's whole tree as ours, and finds by that mark what an earlier supervisor left behind.

The mark is a variable of the environment, which descendants inherit. Knows no child process; a daemon
calls `kill_marked` once at its start.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARKER = "SCRIPTORIUM_CHILD"
_SWEEP_S = 5.0


@dataclass(frozen=True, slots=True)
class Marker:
    """Names one child of one supervisor, in the environment of its whole tree."""

    supervisor: str
    """Process id and start time: a process id alone may be somebody else's by now."""
    child_id: str

    @classmethod
    def new(cls) -> Marker:
        """Mark a child of the calling process."""
        return cls(f"{os.getpid()}@{_start_ticks(os.getpid())}", uuid.uuid4().hex)

    def __str__(self) -> str:
        return f"{self.supervisor}:{self.child_id}"


def kill_marked(marker: str | None = None) -> int:
    """Kill what carries a marker until nothing is left; by default what ended supervisors left behind.

    Returns:
        How many processes were killed.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + _SWEEP_S
    while time.monotonic() < deadline:
        found = [
            pid
            for pid, text in marked_processes(marker)
            if marker or is_gone(text.partition(":")[0])
        ]
        if not found:
            break
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed.update(found)
        time.sleep(0.01)
    return len(killed)


def is_gone(supervisor: str) -> bool:
    """Whether the supervisor that a `Marker` names has ended."""
    pid, _, ticks = supervisor.partition("@")
    return pid.isdigit() and _start_ticks(int(pid)) != ticks


def _start_ticks(pid: int) -> str:
    """When a process started, in the kernel's words; "" for one that does not exist."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def marked_processes(marker: str | None = None) -> Iterator[tuple[int, str]]:
    """Find processes by marker: those of one child, or all that any supervisor left.

    Yields:
        The process id and the marker's text.
    """
    prefix = f"{MARKER}=".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # gone meanwhile, or somebody else's
            for variable in (entry / "environ").read_bytes().split(b"\0"):
                if variable.startswith(prefix):
                    text = variable[len(prefix) :].decode(errors="replace")
                    if marker is None or text == marker:
                        yield int(entry.name), text
