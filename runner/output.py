"""What this process has printed and not yet sent on: Python's buffers, and those of C libraries."""

from __future__ import annotations

import ctypes
import sys


def flush_output() -> None:
    """Send it on."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    ctypes.CDLL(None).fflush(None)
