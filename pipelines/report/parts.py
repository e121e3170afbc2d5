"""What a report is made of: plain values that say what is shown, not how.

Texts are plain text; the page escapes every one of them. Each part and cell has a `kind`, by which the
template picks its form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from pipelines.report.curve import Curve
from pipelines.report.diff import Piece


class Tone(StrEnum):
    """How a badge is meant."""

    GOOD = "good"
    CHECK = "check"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Badge:
    """A verdict in a word or two."""

    kind: ClassVar[str] = "badge"
    text: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Number:
    """A figure with as many digits as it deserves; `value` None is a blank."""

    kind: ClassVar[str] = "number"
    value: float | None
    digits: int = 0
    unit: str = ""

    @property
    def text(self) -> str:
        """The figure as it is shown."""
        return "" if self.value is None else f"{self.value:.{self.digits}f}{self.unit}"


@dataclass(frozen=True, slots=True)
class Sound:
    """A short sample that is part of the page; `label` tells a listener what it is."""

    kind: ClassVar[str] = "sound"
    label: str
    source: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two texts as one, with what differs marked; see `diff.compare`."""

    kind: ClassVar[str] = "comparison"
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Several short texts below each other."""

    kind: ClassVar[str] = "lines"
    lines: tuple[str, ...]


Cell = str | Badge | Number | Sound | Comparison | Lines | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with their values; a value None leaves its line out."""

    kind: ClassVar[str] = "facts"
    title: str
    items: Sequence[tuple[str, Cell]]


@dataclass(frozen=True, slots=True)
class Notes:
    """Sentences; those of `tone` CHECK or BAD are warnings."""

    kind: ClassVar[str] = "notes"
    title: str
    lines: Sequence[str]
    tone: Tone = Tone.CHECK


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns, the most interesting row first; `rest` says where those beyond are."""

    kind: ClassVar[str] = "table"
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    rest: str = ""


Part = Facts | Notes | Table | Curve
