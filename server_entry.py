"""The HTTP servers: argv and environment in, exit code out; decides nothing itself.

python server_entry.py worker        transcribes on this machine for controllers
python server_entry.py controller    takes recordings and has a worker do them

Imports settings only until the command line is understood, so that `--help` answers at once. Never imports
torch, numpy or a model library: those live in the worker's children.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from runner.program import ProgramError, complain, run_program

PROGRAM = "server_entry.py"
EXIT_USAGE = 64


def main(argv: Sequence[str]) -> int:
    """Serve; returns the exit code."""
    command = argv[0] if argv else ""
    try:
        if command == "worker":
            return serve_worker(argv[1:])
        if command == "controller":
            return serve_controller(argv[1:])
    except ProgramError as error:
        return complain(PROGRAM, error)
    is_help = command in ("--help", "-h")
    print(__doc__, file=sys.stdout if is_help else sys.stderr)
    return 0 if is_help else EXIT_USAGE


def serve_worker(argv: Sequence[str]) -> int:
    """The GPU machine's side."""
    from web.settings import WorkerSettings, load_settings

    settings = load_settings(WorkerSettings, argv)
    from web import worker

    return worker.run(settings)


def serve_controller(argv: Sequence[str]) -> int:
    """The side that clients see."""
    from web.settings import ControllerSettings, load_settings

    settings = load_settings(ControllerSettings, argv)
    from web import controller

    return controller.run(settings)


if __name__ == "__main__":
    run_program(main)
