"""`make chaos`, the part that pulls the plug: a worker killed a thousand times, and what it leaves running.

Prints the seed; `--seed` lives the same lives again. `docs/reliability.md` keeps what was measured.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path

from durability.chaos import Life, live
from durability.orphans import ALLOWED_S, seconds_until_gone
from durability.training_world import train_undisturbed, train_with_kills
from support.job_world import JobWorld

HEADING = "| property | runs | failures | seed | date |\n|---|---:|---:|---:|---|"
JOBS_PER_WORLD = 20
LIVES_PER_LINE = 25
MOST_TRAINING_KILLS = 3


def main() -> int:
    """Kill as often as asked; 1 if anything happened that must not."""
    parser = argparse.ArgumentParser(prog="python -m durability", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop killing after so long")
    parser.add_argument("--orphans", type=int, default=100, help="kills with a stubborn job")
    parser.add_argument("--trainings", type=int, default=20, help="kills of a real training")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    _say(f"seed {options.seed}\n{HEADING}")
    failures = _report_lives(options) + _report_orphans(options) + _report_trainings(options)
    return 1 if failures else 0


def _report_lives(options: argparse.Namespace) -> int:
    started_s, kills, wrong = time.monotonic(), 0, 0
    points: Counter[str] = Counter()
    lives = 0
    for life in _lives(options.seed, options.processes):
        lives, kills, points = lives + 1, kills + life.kills, points + life.points
        if life.wrongs:
            wrong += 1
            _say(f"seed {life.seed}: {life.wrongs}")
        if lives % LIVES_PER_LINE == 0:
            _say(f"… {lives} lives, {kills} kills, {wrong} went wrong")
        if kills >= options.kills or time.monotonic() - started_s > 60 * options.minutes:
            break
    took_s = time.monotonic() - started_s
    named = f"killed at {len(points)} points in {lives} lives, {took_s:.0f} s"
    _row(f"nothing lost, doubled, overwritten or touched: {named}", kills, wrong, options.seed)
    rare = ", ".join(f"{name} {times}" for name, times in points.most_common()[-5:])
    _say(f"rarest: {rare}")
    return wrong


def _lives(seed: int, processes: int) -> Iterator[Life]:
    """Lives of consecutive seeds, as they end; ends what is under way when nobody asks any more."""
    seeds = count(seed)
    with ProcessPoolExecutor(processes) as pool:
        running = {pool.submit(_live, each) for each in islice(seeds, processes)}
        try:
            while True:
                for future in [each for each in running if each.done()]:
                    running.remove(future)
                    running.add(pool.submit(_live, next(seeds)))
                    yield future.result()
                time.sleep(0.02)
        finally:
            pool.shutdown(cancel_futures=True)


def _live(seed: int) -> Life:
    logging.disable(logging.ERROR)  # the server's complaints about clients that died
    with tempfile.TemporaryDirectory(prefix="durability-") as folder:
        try:
            return live(seed, Path(folder))
        except Exception as error:  # noqa: BLE001 - one broken life is a finding, not the end of the run
            return Life(seed, wrongs=[f"{type(error).__name__}: {error}"])


def _report_orphans(options: argparse.Namespace) -> int:
    times: list[float] = []
    while len(times) < options.orphans:
        rounds = min(JOBS_PER_WORLD, options.orphans - len(times))
        with tempfile.TemporaryDirectory() as folder, JobWorld(Path(folder)) as world:
            times += [seconds_until_gone(world, number) for number in range(rounds)]
    late = sum(time_s > ALLOWED_S for time_s in times)
    if times:
        _row(
            f"no process left {ALLOWED_S:g} s after kill -9 (slowest {1000 * max(times):.0f} ms)",
            len(times),
            late,
            options.seed,
        )
    return late


def _report_trainings(options: argparse.Namespace) -> int:
    """Kill real trainings, one to three times each; compare what they published with one left alone."""
    kills = moves = wrong = 0
    if not options.trainings:
        return 0
    logging.disable(logging.ERROR)
    started_s, seed = time.monotonic(), options.seed
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        expected = train_undisturbed(Path(folder) / "undisturbed")
        while kills < options.trainings:
            wanted = min(1 + seed % MOST_TRAINING_KILLS, options.trainings - kills)
            life = train_with_kills(seed, Path(folder) / str(seed), kills=wanted)
            kills, moves = kills + life.kills, moves + life.moves
            is_equal = life.trained.curve == expected.curve
            wrong += not is_equal
            _say(f"… seed {seed}: killed after epochs {life.reached}, equal: {is_equal}")
            seed += 1
    took_s = time.monotonic() - started_s
    _row(
        f"a training killed at random, {moves} times for good so that another box went on, "
        f"{took_s:.0f} s: another curve than undisturbed",
        kills,
        wrong,
        options.seed,
    )
    return wrong


def _row(title: str, runs: int, failures: int, seed: int) -> None:
    _say(f"| {title} | {runs:,} | {failures} | {seed} | {datetime.now(UTC):%Y-%m-%d} |")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
