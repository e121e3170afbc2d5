"""`make walks`: a hundred thousand random steps of each machine, and how many were illegal.

Prints the seed; `--seed` walks the same way again, as far as threads allow. `docs/testing.md` keeps what was seen.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from walks import jobs, pool


def main() -> int:
    """Walk; 1 if anything happened that must not."""
    parser = argparse.ArgumentParser(prog="python -m walks", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--steps", type=int, default=100_000, help="of each machine")
    options = parser.parse_args()
    logging.getLogger("gitlab_jobs").setLevel(logging.CRITICAL)
    _say(f"seed {options.seed}\n| machine | steps | different | illegal |\n|---|---:|---:|---:|")
    walked = pool.walk(options.seed, options.steps)
    for machine, name in (("WorkerState", "worker"), ("RequestState", "request")):
        different = sum(step[0] == machine for step in walked.steps)
        wrong = sum(step[0] == machine for step in walked.illegal)
        _say(f"| {name} | {walked.count(machine):,} | {different} | {wrong} |")
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as home:
        seen = jobs.walk(Path(home), options.seed, options.steps)
    wrong = sum(seen.taken[step] for step in seen.illegal)
    _say(f"| job | {seen.taken.total():,} | {len(seen.taken)} | {wrong} |")
    return 1 if walked.illegal or wrong else 0


def _fast_folder() -> str | None:
    """Memory, where there is such a folder: the store flushes every commit to the disk."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
