"""How a program of ours ends: its exit code, and a reader of its output who has left.

Imports next to nothing, because `--help` does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn


def run_program(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run `main` with the command line and exit with what it returns."""
    try:
        sys.exit(main(sys.argv[1:]))
    finally:
        _finish_output()


def _finish_output() -> None:
    """Let a reader that has gone away (`… --plan | head`) end the program without a complaint."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
