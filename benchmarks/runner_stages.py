"""Two models that should not be in memory together: the orders of `runner.stages` against one process for both.

Part of `benchmarks.runner`. Memory is what the whole tree of processes shares, seen from outside.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.runner_watch import peak_above_now
from benchmarks.runner_ways import Row, run_all, task, took_s, warm
from runner.executors import Site
from runner.isolation import Isolation, choose_isolation, needed_bytes
from runner.peak import Peak
from runner.stages import Stage, StageWorkflow

LARGE_BYTES, SMALL_BYTES = 1 << 30, 1 << 29
FILES = 4
ROUNDS = 3

Items = list[dict[str, object]]


@dataclass
class Trial:
    """The readings of one way."""

    shares: list[float] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    def take(self, work: Callable[[], object]) -> None:
        """Do the work once, watched."""
        with peak_above_now() as peak:
            self.times_s.append(took_s(work))
        self.shares.append(peak.bytes / LARGE_BYTES)

    @property
    def share(self) -> float:
        """The peak, in sizes of the larger model."""
        return max(self.shares)

    @property
    def time_s(self) -> float:
        """The median."""
        return statistics.median(self.times_s)


def two_stages() -> list[Stage]:
    """A model of 1.0 GiB, then one of 0.5 GiB."""
    return [
        Stage("hear", task("Hold", sizes_bytes=[LARGE_BYTES])),
        Stage("sum", task("Hold", sizes_bytes=[SMALL_BYTES])),
    ]


def stages(home: Path) -> Iterator[Row]:
    """Every order in turn, and again: the machine's other work hits all of them."""
    items: Items = [{}] * FILES

    def flow(name: str, number: int) -> StageWorkflow:
        return StageWorkflow(two_stages(), Site(home / f"{name}-{number}"))

    ways: dict[str, Callable[[int], object]] = {
        "file-major": lambda n: list(flow("file", n).run_file_major(items)),
        "stage-major": lambda n: list(flow("stage", n).run_stage_major(items)),
        "both kept": lambda n: _both_kept(home / f"kept-{n}", items),
        "one process, both models": lambda n: _one_process(home / f"one-{n}", items),
    }
    trials = {name: Trial() for name in ways}
    for number in range(ROUNDS):
        for name, work in ways.items():
            trials[name].take(lambda work=work, number=number: work(number))
    texts = [f"{name} {t.share:.2f} GiB, {t.time_s:.1f} s" for name, t in trials.items()]
    low = [trials["file-major"], trials["stage-major"]]
    yield Row(
        f"peak and time of two stages of 1.0 and 0.5 GiB, {FILES} files",
        "; ".join(texts),
        "staged ≤ 1.1 GiB",
        max(trial.share for trial in low) <= 1.1,
    )
    gain = trials["file-major"].time_s / trials["stage-major"].time_s
    yield Row("stage-major against file-major, time", f"{gain:.2f}×", "> 1×", gain > 1)


def auto_choice(home: Path) -> Iterator[Row]:
    """What the first file shows, and what is made of it in two rooms."""
    items: Items = [{}] * FILES
    together = needed_bytes(LARGE_BYTES + SMALL_BYTES)
    rooms = {"ample": Peak(4 * together), "scarce": Peak(together)}
    wanted = {"ample": Isolation.KEPT, "scarce": Isolation.STAGED}
    texts, is_right = [], True
    for name, room in rooms.items():
        trial = Trial()
        chosen: list[Isolation] = []
        trial.take(lambda n=name, r=room, to=chosen: to.append(_as_fits(home / n, items, r)))
        is_right &= chosen == [wanted[name]]
        texts.append(f"{name} room: {chosen[0]}, {trial.share:.2f} GiB in {trial.time_s:.1f} s")
    yield Row("auto, by what the first file measured", "; ".join(texts), "kept, staged", is_right)


def _as_fits(home: Path, items: Items, room: Peak) -> Isolation:
    """What `--isolation auto` of a batch does: measure with the first file, choose, go on."""
    first, rest = items[:1], items[1:]
    flow = StageWorkflow(two_stages(), Site(home / "stages"))
    results = list(flow.run_file_major(first))
    choice = choose_isolation(list(flow.peaks.values()), room).isolation
    if choice is Isolation.KEPT:
        _both_kept(home / "kept", rest)
    else:
        results += flow.run_stage_major(rest)
    if not all(result.has_succeeded for result in results):
        raise RuntimeError("a stage has failed")
    return choice


def _both_kept(home: Path, items: Items) -> None:
    """Warm children of both stages beside each other."""
    hear, total = (stage.task for stage in two_stages())
    with warm(home / "hear", hear) as first, warm(home / "sum", total) as second:
        for item in items:
            told = {"item": item, "stages": {}, "folder": str(home)}
            first.submit(told).result(120)
            second.submit(told).result(120)


def _one_process(home: Path, items: Items) -> None:
    spec = task("Both", sizes_bytes=[LARGE_BYTES, SMALL_BYTES])
    with warm(home, spec) as pool:
        run_all(pool, items)
