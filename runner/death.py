"""Ties a process to its parent's life and its orphans to itself (Linux `prctl`).

Knows no frames and no jobs. Only the child side calls this.
"""

from __future__ import annotations

import ctypes
import os
import signal

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38


def signal_on_parent_death(signal_number: signal.Signals, parent_pid: int) -> None:
    """Have the kernel send a signal when the *thread* that started this process ends.

    Raises:
        ProcessLookupError: the parent died before the request was in place.
    """
    _prctl(_PR_SET_PDEATHSIG, int(signal_number))
    if os.getppid() != parent_pid:
        raise ProcessLookupError(f"parent {parent_pid} is gone already")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, whatever session it is in."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def renounce_privileges() -> None:
    """Make setuid programs powerless below this process."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}, {value}): {os.strerror(error)}")
