"""Contestants that take turns, and the table of what came out. Knows no speech."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Way = Callable[[], object]
Clock = Callable[[], float]

SHORT_S = 0.1
HEADER = "| | original | ours | times as good | budget |\n|---|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `ratio` is how many times less ours takes."""

    what: str
    theirs: float
    ours: float
    ratio: float
    budget: float | None = None
    unit: str = "s"

    @property
    def is_kept(self) -> bool:
        """Whether the budget is met, if there is one."""
        return self.budget is None or self.ratio >= self.budget

    def __str__(self) -> str:
        budget = "–" if self.budget is None else f"≥ {self.budget:g}"
        sizes = f"{self._size(self.theirs)} | {self._size(self.ours)}"
        return f"| {self.what} | {sizes} | {_short(self.ratio)} | {budget} |"

    def _size(self, value: float) -> str:
        if self.unit == "s" and value < SHORT_S:
            return f"{_short(1000 * value)} ms"
        return f"{_short(value)} {self.unit}"


@dataclass(frozen=True, slots=True)
class Race:
    """What each contestant took in each round."""

    seconds: Mapping[str, tuple[float, ...]]

    def row(self, what: str, theirs: str, ours: str, budget: float | None = None) -> Row:
        """Compare two; the ratio is the median over rounds, whose members are neighbours in time."""
        pairs = list(zip(self.seconds[theirs], self.seconds[ours], strict=True))
        ratio = statistics.median(their_s / our_s for their_s, our_s in pairs)
        return Row(what, self.median(theirs), self.median(ours), ratio, budget)

    def median(self, name: str) -> float:
        """What a contestant usually took, in seconds."""
        return statistics.median(self.seconds[name])


def race(ways: Mapping[str, Way], rounds: int, clock: Clock = time.perf_counter) -> Race:
    """Let all run in turns; the first round only warms up, unless it is the only one."""
    if rounds > 1:
        for way in ways.values():
            way()
    laps = [{name: _lap(way, clock) for name, way in ways.items()} for _ in range(rounds)]
    return Race({name: tuple(lap[name] for lap in laps) for name in ways})


def _lap(way: Way, clock: Clock) -> float:
    started = clock()
    way()
    return clock() - started


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:#.3g}"
