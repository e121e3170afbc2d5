"""How a program of ours ends: its exit code, what it says before that, and a reader of its output who has left.

Imports next to nothing, because `--help` does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol


class ProgramError(Exception):
    """A program cannot do what it was asked to; `hint` is the remedy, and the exit code tells other programs."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "", exit_code: int | None = None) -> None:
        """Keep the remedy apart from the message."""
        super().__init__(message)
        self.hint = hint
        self.exit_code = self.exit_code if exit_code is None else exit_code


class Explained(Protocol):
    """An error that knows its remedy and its exit code; `str` says what is wrong."""

    hint: str
    exit_code: int


def complain(program: str, error: Explained) -> int:
    """Say on standard error what is wrong and what to do; returns the exit code."""
    sys.stderr.write(f"{program}: {error}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
    return error.exit_code


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
