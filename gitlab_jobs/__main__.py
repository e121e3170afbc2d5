"""`python -m gitlab_jobs`: argv in, text and exit code out; decides nothing itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gitlab_jobs import cli
from gitlab_jobs.cli_options import make_parser
from gitlab_jobs.errors import ConfigError, ScriptoriumError


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    options = make_parser().parse_args(list(argv))
    try:
        sys.stdout.write(f"{cli.execute(options)}\n")
    except ScriptoriumError as error:
        sys.stderr.write(f"{error}\n")
        if isinstance(error, ConfigError):
            sys.stderr.write(f"hint: {error.hint}\n" if error.hint else "")
            return error.exit_code
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
