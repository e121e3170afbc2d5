"""A curve over epochs as a drawing: scaled points, round ticks. Also read from `training_metrics.csv`.

Knows no HTML; what it computes are coordinates in a box of `WIDTH` by `HEIGHT` units, y downwards.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 40
MAX_POINTS = 300
"""Per line; more cannot be seen, and would only make the page heavy."""
TICKS = 5
STEEP = 30.0
"""A range of values this wide, highest over lowest, is drawn on a logarithmic axis."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One line, as (x, y) in order of x."""

    name: str
    points: tuple[Point, ...]

    @property
    def lowest(self) -> Point:
        """Where it is lowest."""
        return min(self.points, key=lambda point: point[1])


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A series as it is drawn; the lowest point is marked."""

    name: str
    points: str
    lowest_x: float
    lowest_y: float
    lowest_text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything that the template needs."""

    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class Curve:
    """Lines over one pair of axes."""

    kind: ClassVar[str] = "curve"
    title: str
    series: Sequence[Series]
    x_label: str = "epoch"

    @property
    def summary(self) -> str:
        """The drawing in words, for those who do not see it."""
        return "; ".join(
            f"{one.name}: from {one.points[0][1]:.3g} to {one.points[-1][1]:.3g}, "
            f"lowest {one.lowest[1]:.3g} at {self.x_label} {one.lowest[0]:g}"
            for one in self.series
        )

    def draw(self) -> Drawing:
        """Scale the lines into the box."""
        points = [point for one in self.series for point in one.points]
        across = _Axis(LEFT, WIDTH - RIGHT, _marks(*_range(x for x, _ in points)))
        low, high = _range(y for _, y in points)
        is_steep = low > 0 and high > STEEP * low
        up_marks = _powers(low, high) if is_steep else _marks(low, high)
        up = _Axis(HEIGHT - BOTTOM, TOP, up_marks, is_logarithmic=is_steep)
        return Drawing(
            tuple(_line(one, across, up) for one in self.series), across.ticks(), up.ticks()
        )


@dataclass(frozen=True, slots=True)
class _Axis:
    """From values to places between `start` and `end`; the outer marks lie on them."""

    start: float
    end: float
    marks: Sequence[float]
    is_logarithmic: bool = False

    def place(self, value: float) -> float:
        values = (value, self.marks[0], self.marks[-1])
        here, low, high = map(math.log, values) if self.is_logarithmic else values
        return self.start + (here - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> tuple[Tick, ...]:
        return tuple(Tick(self.place(mark), f"{mark:g}") for mark in self.marks)


def read_curve(path: Path, title: str, columns: Mapping[str, str]) -> Curve | None:
    """Read lines (column → name) from a table with an `epoch` column; None if there are none yet.

    Blank and unreadable values are gaps; the line is drawn across them.
    """
    if not path.exists():
        return None
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = list(csv.DictReader(file))
    series = (Series(name, tuple(_points(rows, column))) for column, name in columns.items())
    long_enough = tuple(one for one in series if len(one.points) > 1)
    return Curve(title, long_enough) if long_enough else None


def _points(rows: Sequence[Mapping[str, str | None]], column: str) -> Iterator[Point]:
    for row in rows:
        x, y = _number(row.get("epoch")), _number(row.get(column))
        if x is not None and y is not None:
            yield x, y


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _line(series: Series, across: _Axis, up: _Axis) -> Line:
    kept = _thinned(series.points)
    drawn = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in kept)
    x, y = series.lowest
    return Line(series.name, drawn, round(across.place(x), 1), round(up.place(y), 1), f"{y:.3g}")


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """Keep every n-th point, and the last one."""
    step = -(-len(points) // MAX_POINTS)
    kept = points[::step]
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _marks(low: float, high: float) -> list[float]:
    """Return round numbers at equal distances that enclose a range."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * number, 12) for number in range(first, last + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Return powers of ten that enclose a range, not too many of them."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = -(-(last - first) // TICKS)
    count = -(-(last - first) // step)
    return [10.0 ** (first + step * number) for number in range(count + 1)]


def _range(values: Iterable[float]) -> tuple[float, float]:
    found = list(values)
    return min(found), max(found)
