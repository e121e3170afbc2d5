"""The GitLab worker daemon: argv and environment in, exit code out; decides nothing itself.

Imports settings only until the command line is understood, so that `--help` answers at once. Never
imports torch, numpy or a model library: those live in the children.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gitlab_jobs.errors import ConfigError
from gitlab_jobs.settings import load_settings, shows_token
from runner.program import complain, run_program

PROGRAM = "worker_entry.py"
HANDLER_LOADER = "handlers.loader:load_handler"


def main(argv: Sequence[str]) -> int:
    """Run the daemon, `--check` or `--plan`; returns the exit code."""
    try:
        settings = load_settings(argv)
        if shows_token(argv):
            print(
                f"{PROGRAM}: the process list shows the token; use GITLAB_TOKEN or --token-file",
                file=sys.stderr,
            )
        from gitlab_jobs import daemon

        report = daemon.run(settings, loader=HANDLER_LOADER, reload=lambda: load_settings(argv))
    except ConfigError as error:
        return complain(PROGRAM, error)
    for line in report.lines:
        print(line)
    return report.exit_code


if __name__ == "__main__":
    run_program(main)
