"""A batch of thousands of tiny files, killed a hundred times: what was done twice, what it cost to go on.

    PYTHONPATH=tests python -m durability.batch_kills [--files 10000] [--kills 100] [--seed N]     (`make batch-kills`)

The model only writes down what it is given; everything else is the real program, and each kill is a `kill -9`.
Prints one table; exits 1 if a file was lost, or more was done twice than was in flight.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from support.batch_runs import Place
from support.slow_source import busy_share

from batch.crew import ROOT
from batch.state.file import StateFile, read_state
from batch.state.record import Record, Status
from pipelines.asr.whisper.outputs import read_result

POLL_S = 0.005
LISTENING_S = 0.01
"""What the model takes for a file: with less, a batch would be done before it is killed often."""
LATEST_S = 120.0
"""Nothing a life is waited for takes so long."""
EARLY_S = 0.8
"""Kills that do not wait for files come up to so long after the start: while starting, planning, loading."""
EARLY_SHARE = 0.3
INTRUDERS_EVERY = 10
"""In every so many lives somebody starts the same command a second time."""
LOCKED = 81
MOST_SCAN_S = 2.0
MOST_IDLE = 5.0
STARVED_FILES = 40
TIMED_PUTS = 5000
COST_ROUNDS = 5


@dataclass(frozen=True)
class Life:
    """What one run of the program left behind."""

    done_before: int
    lost: int
    """Files that it had transcribed and that nobody knows to be done."""
    scan_s: float | None
    """Processor time from the start until it said what is to be done; None if it was killed before."""
    line_bytes: float | None
    """Length of a change in the journal."""


@dataclass
class Story:
    """All lives of one batch, and what is wrong at its end."""

    files: int
    in_flight: int
    lives: list[Life] = field(default_factory=list)
    intruders: list[int] = field(default_factory=list)
    """Exit codes of those who started the same command beside a running one."""
    said: int = 0
    incomplete: int = 0
    wrongs: list[str] = field(default_factory=list)

    @property
    def doubled(self) -> int:
        """Files' worth of work that was done again."""
        return self.said - self.files


class Diary:
    """What the model wrote down, read on from where the last look ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.names: list[str] = []

    def read(self) -> int:
        """How many files were transcribed so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                whole, _, _ = file.read().rpartition(b"\n")
            self._offset += len(whole) + bool(whole)
            lines = whole.decode("utf-8").splitlines()
            self.names += [line.split(" ", 3)[3] for line in lines if line.startswith("said")]
        return len(self.names)


class Killer:
    """Runs a batch again and again, and kills it."""

    def __init__(self, home: Path, files: int, in_flight: int, seed: int) -> None:
        """Put the recordings there."""
        self._chance = random.Random(seed)
        self._place = Place(home)
        self._place.record(*(f"{number:05}.mp3" for number in range(files)))
        self._diary = Diary(home / "diary")
        self._flags = ("--pack", "1", "--parallel", str(in_flight))
        self.story = Story(files, in_flight)

    def live(self, kills: int) -> None:
        """Let the program be killed so often, and then let it finish."""
        mean = 0.5 * self.story.files / max(1, kills)
        for number in range(kills):
            is_early = self._chance.random() < EARLY_SHARE
            more = 0 if is_early else self._chance.randint(1, max(1, round(2 * mean)))
            wait_s = self._chance.random() * (EARLY_S if is_early else 0.05)
            with_intruder = number % INTRUDERS_EVERY == 4
            self.story.lives.append(self._life(more, wait_s, with_intruder=with_intruder))
        self.story.lives.append(self._life(None, 0.0))
        self.story.said = self._diary.read()
        self.story.wrongs += list(self._wrongs())

    def _life(self, more: int | None, wait_s: float, *, with_intruder: bool = False) -> Life:
        """One run: ended after so many more files and so long, or left alone if `more` is None."""
        before, begun = self._diary.read(), len(self._done())
        with (self._place.home / "events").open("wb") as events:
            process = self._place.start(*self._flags, sleep_s=LISTENING_S, output=events)
            try:
                scan_s = self._scanned(process)
                if with_intruder and scan_s is not None:
                    self._intrude(process)
                if more is not None:
                    self._await(process, lambda: self._diary.read() >= before + more)
                    time.sleep(wait_s)
                    process.kill()
                code = process.wait(None if more is None else LATEST_S)
            finally:
                process.kill()
                process.wait()
        if more is None and code != 0:
            self.story.wrongs.append(f"the last run exited {code}")
        self._await_silence(process.pid)
        line_bytes = self._line_bytes()
        self._diary.read()
        lost = set(self._diary.names[before:]) - self._done().keys()
        return Life(begun, len(lost), scan_s, line_bytes)

    def _scanned(self, process: subprocess.Popen[bytes]) -> float | None:
        """Wait for the plan; what it took of the processor. None if a kill may come before it."""
        if self._chance.random() < EARLY_SHARE / 2:
            return None
        path = self._place.home / "events"
        self._await(process, lambda: b"\n" in path.read_bytes()[:1000])
        times = psutil.Process(process.pid).cpu_times()
        return float(times.user + times.system)

    def _intrude(self, process: subprocess.Popen[bytes]) -> None:
        command = [sys.executable, str(ROOT / "batch_entry.py"), *self._place.argv(*self._flags)]
        second = subprocess.run(command, check=False, capture_output=True, timeout=LATEST_S)
        if process.poll() is None:  # otherwise there may have been nobody to keep it out
            self.story.intruders.append(second.returncode)

    def _await(self, process: subprocess.Popen[bytes], is_so: Callable[[], bool]) -> None:
        """Until it is so, or the program has ended by itself."""
        deadline = time.monotonic() + LATEST_S
        while not is_so() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _await_silence(self, pid: int) -> None:
        """Until the children of a killed run are gone: they may still write their last line."""
        deadline = time.monotonic() + LATEST_S
        while any(self._is_of(child) for child in psutil.process_iter()):
            if time.monotonic() > deadline:
                self.story.wrongs.append(f"children of {pid} are still there")
                return
            time.sleep(POLL_S)

    def _is_of(self, process: psutil.Process) -> bool:
        try:
            return process.cwd().startswith(str(self._place.home))
        except psutil.Error:
            return False

    def _done(self) -> dict[str, Record]:
        records = read_state(self._place.state_path) if self._place.input.exists() else {}
        return {name: known for name, known in records.items() if known.status is Status.COMPLETE}

    def _line_bytes(self) -> float | None:
        path = self._place.state_path.with_suffix(".journal")
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return statistics.fmean(map(len, lines)) if lines else None

    def _wrongs(self) -> Iterator[str]:
        """Look at every output of every file."""
        story = self.story
        yield from (
            f"life {number} lost {life.lost} files"
            for number, life in enumerate(story.lives)
            if life.lost > story.in_flight
        )
        lost = sum(life.lost for life in story.lives)
        if lost != story.doubled:
            yield f"{lost} files were lost to kills, but {story.doubled} done again"
        if set(story.intruders) - {LOCKED}:
            yield f"second runners exited {story.intruders}"
        done = self._done()
        for number in range(story.files):
            name = f"{number:05}.mp3"
            if name not in done or not self._is_right(name):
                story.incomplete += 1
                yield f"{name} is not complete"
        scans = [life.scan_s for life in story.lives if life.scan_s is not None]
        if max(scans) > MOST_SCAN_S:
            yield f"going on took {max(scans):.2f} s of the processor"
        left = [path.name for path in self._place.input.glob(".*")]
        if left:
            yield f"left behind: {left}"

    def _is_right(self, name: str) -> bool:
        base = self._place.output / name
        text = (base.parent / f"{name}.txt").read_text("utf-8")
        has_all = all(
            (base.parent / f"{name}{ending}").stat().st_size
            for ending in (".json", "_formatted.txt", ".srt")
        )
        heard = read_result(base.parent / f"{name}.json").corrected.transcript.text
        return has_all and text == f"{name}\n" and heard == name


def put_cost_s(known: int, folder: Path) -> float:
    """Processor time for a change in a batch of so many files, its share of checkpoints included."""
    record = Record(Status.COMPLETE, "a.mp3", 10, 5, 1, outputs=("a.mp3.txt",), options_hash="x")
    with StateFile(folder / f"{known}.json") as state:
        state.records.update({f"{number:08}.mp3": record for number in range(known)})
        state.checkpoint()
        begun = time.process_time()
        for number in range(TIMED_PUTS):
            state.put(f"{number % known:08}.mp3", record)
        return (time.process_time() - begun) / TIMED_PUTS


def report(story: Story, seed: int) -> Iterator[str]:
    """The table's rows."""
    kills = len(story.lives) - 1
    lost = [life.lost for life in story.lives]
    scans = [life.scan_s for life in story.lives if life.scan_s is not None]
    lines = [life.line_bytes for life in story.lives if life.line_bytes]
    yield f"{story.files:,} files, {kills} kills, {story.in_flight} in flight, seed {seed}"
    yield "| property | measured | budget |\n|---|---|---|"
    yield f"| files that are complete, every output looked at | {story.files - story.incomplete:,} | {story.files:,} |"
    yield f"| done twice after a kill, most / in all | {max(lost)} / {story.doubled} | ≤ {story.in_flight} / – |"
    yield f"| from the start to the plan, processor time, slowest (median) | {max(scans):.2f} s ({statistics.median(scans):.2f} s) | ≤ {MOST_SCAN_S:g} s |"
    yield f"| bytes of a change in the journal, first / last life | {lines[0]:.0f} / {lines[-1]:.0f} | equal |"
    yield f"| second runners, all refused with {LOCKED} | {len(story.intruders)} | – |"


def put_costs() -> str:
    """One more row: what a change costs in a small and in a large batch, by turns."""
    with tempfile.TemporaryDirectory() as folder:
        rounds = [
            (put_cost_s(100, Path(folder)), put_cost_s(10_000, Path(folder)))
            for _ in range(COST_ROUNDS)
        ]
    small, large = (1e6 * statistics.median(column) for column in zip(*rounds, strict=True))
    return f"| a change among 100 / among 10,000 files, checkpoints included | {small:.0f} / {large:.0f} µs | equal |"


def idle() -> tuple[str, bool]:
    """One more row: how long a model waits that takes a second for a file, when files take nearly as long to come."""
    with tempfile.TemporaryDirectory() as folder:
        share = 100 * (
            1 - busy_share(Place(Path(folder)), STARVED_FILES, download_s=0.8, model_s=1.0)
        )
    row = f"| idle share of the model: 0.8 s to download, 1 s to transcribe a file | {share:.1f} % | ≤ {MOST_IDLE:g} % |"
    return row, share <= MOST_IDLE


def main(argv: Sequence[str]) -> int:
    """Print the table; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m durability.batch_kills", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--in-flight", type=int, default=4)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args(argv)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="batch-kills-") as folder:
        killer = Killer(Path(folder), options.files, options.in_flight, options.seed)
        killer.live(options.kills)
    idle_row, is_busy = idle()
    rows = [*report(killer.story, options.seed), put_costs(), idle_row, *killer.story.wrongs]
    rows.append(f"\n{time.monotonic() - begun:.0f} s")
    sys.stdout.write("\n".join(rows) + "\n")
    return 0 if is_busy and not killer.story.wrongs else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
