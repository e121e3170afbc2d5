"""Runs one external program under a keeper: `python -I -m runner.leash --report-fd N --parent-pid P -- PROGRAM …`.

    caller's thread ──exec──► keeper ──fork, exec──► program ──► whatever it starts
         └─ dies, or sends END_TREE: the keeper ends the tree

The program keeps the caller's output and environment. Knows nothing of frames: how it ended stands in the report.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
from typing import NoReturn

from runner.death import signal_on_parent_death
from runner.keeper import DUMP_STACKS, END_TREE, keep

EXIT_NOT_STARTED = 127


def main() -> NoReturn:
    """Keep the program that the arguments name."""
    parser = argparse.ArgumentParser(prog="runner.leash", description=main.__doc__)
    parser.add_argument("--report-fd", type=int, required=True, help="inherited memory file")
    parser.add_argument("--parent-pid", type=int, required=True, help="whose death ends the tree")
    parser.add_argument("program", nargs="+", help="after --, with its arguments")
    arguments = parser.parse_args()
    fcntl.fcntl(arguments.report_fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)

    def worker(keeper_pid: int) -> NoReturn:
        signal_on_parent_death(signal.SIGKILL, keeper_pid)
        # Blocked signals survive an exec; the program expects none to be.
        blocked = {signal.SIGCHLD, signal.SIGTERM, DUMP_STACKS, END_TREE}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        _become(arguments.program)

    keep(worker, arguments.report_fd, arguments.parent_pid)


def _become(argv: list[str]) -> NoReturn:
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(EXIT_NOT_STARTED)


if __name__ == "__main__":
    main()
