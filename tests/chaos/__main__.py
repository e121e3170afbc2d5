"""`make chaos`: all races, zombies and stories with people, and a long outage; one table line per figure.

Prints the seed; `--seed` tells the same story again. `docs/reliability.md` keeps what was measured.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from chaos import outage, people, races, zombies

HEADING = "| property | runs | failures | seed | date |\n|---|---:|---:|---:|---|"


@dataclass(frozen=True)
class Figure:
    """One measured property."""

    title: str
    runs: int
    failures: int


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    races: int
    claimers: int
    zombie_jobs: int
    stories: int
    outage_s: float


FULL = Size(races=10_000, claimers=24, zombie_jobs=650, stories=500, outage_s=600)
QUICK = Size(races=200, claimers=20, zombie_jobs=30, stories=25, outage_s=15)


def main() -> int:
    """Run what was asked for; 1 if anything happened that must not."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--quick", action="store_true", help="a small part of everything")
    parser.add_argument("--only", choices=sorted(PARTS), action="append")
    parser.add_argument("--outage-s", type=float, help="how long the server is away, in seconds")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    size = QUICK if options.quick else FULL
    if options.outage_s is not None:
        size = replace(size, outage_s=options.outage_s)
    _say(f"seed {options.seed}\n{HEADING}")
    failures = 0
    for name in options.only or PARTS:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            for figure in PARTS[name](Path(folder), options.seed, size):
                failures += figure.failures
                today = f"{datetime.now(UTC):%Y-%m-%d}"
                _say(
                    f"| {figure.title} | {figure.runs:,} | {figure.failures} | {options.seed} | {today} |"
                )
        _say(f"<!-- {name}: {time.monotonic() - started:.0f} s -->")
    return min(failures, 1)


def _races(directory: Path, seed: int, size: Size) -> Iterator[Figure]:
    tally = races.run(directory, seed, size.races, size.claimers)
    _tell(tally.errors)
    tries = f"{tally.claims_tried:,} claims by {size.claimers} workers"
    lost = f"{tally.replies_lost:,} replies lost"
    yield Figure(f"claim races, {tries}, {lost}: two owners", tally.races, tally.double)
    wrong = tally.unowned + len(tally.errors)
    yield Figure("claim races: no owner, the wrong one, or a wrong history", tally.races, wrong)


def _zombies(directory: Path, seed: int, size: Size) -> Iterator[Figure]:
    tally = zombies.run(directory, seed, size.zombie_jobs)
    _tell(tally.errors)
    yield Figure(
        "writes that zombies tried after a theft: zombie commits",
        tally.wake_ups,
        tally.zombie_commits,
    )
    yield Figure("stale leases with 1 to 4 thieves: two winners", tally.jobs, tally.double_thefts)
    yield Figure("stale leases: any other wrong end or history", tally.jobs, len(tally.errors))


def _people(directory: Path, seed: int, size: Size) -> Iterator[Figure]:
    tally = people.run(directory, seed, size.stories)
    _tell(tally.broken)
    what = f"{tally.acts:,} edits, {tally.syncs:,} syncs, {tally.inside_commits:,} of them inside a commit"
    yield Figure(f"publications among people, {what}: lost or half", tally.runs, tally.failures)
    mended, again = tally.mended, tally.rolled_back
    title = f"of these, {mended} repaired after an overlap, {again} restored after a roll-back"
    yield Figure(f"{title}: failed", mended + again, tally.failures)


def _outage(directory: Path, _seed: int, size: Size) -> Iterator[Figure]:
    seen = outage.run(directory, size.outage_s)
    _tell(seen.wrongs)
    story = (
        f"a server that was killed and away for {seen.away_s:.0f} s: a training beat {seen.beats:,} times"
        f" meanwhile (longest pause {seen.longest_pause_s:.1f} s) and ended"
        f" {seen.ends_s.get('trains', -1):.0f} s after the return; an end from within the outage was"
        f" written {seen.ends_s.get('ends', -1):.0f} s after it"
    )
    yield Figure(f"{story}: noticed by a job, lost or doubled", 2, len(seen.wrongs))


def _tell(errors: list[str]) -> None:
    for error in errors[:20]:
        _say(f"<!-- {error} -->")


PARTS: dict[str, Callable[[Path, int, Size], Iterator[Figure]]] = {
    "races": _races,
    "zombies": _zombies,
    "people": _people,
    "outage": _outage,
}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
