"""Turns of speakers, as values and as RTTM, and which words belong to whom.

Knows times and names, no sound. Format: NIST RT-09 evaluation plan, appendix A (RTTM).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from pipelines.errors import PipelineError


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    speaker: str


@dataclass(frozen=True, slots=True)
class SpeakerCount:
    """How many speakers there are, as far as somebody knows; `exactly` wins over the limits."""

    exactly: int | None = None
    least: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: a number below one, or limits that leave no number.
        """
        known = [number for number in (self.exactly, self.least, self.most) if number is not None]
        if min(known) < 1 or (self.most is not None and self.most < self.least):
            raise ValueError("give at least one speaker, and a maximum not below the minimum")

    @property
    def lowest(self) -> int:
        """The fewest speakers that may come out."""
        return self.exactly or self.least

    @property
    def highest(self) -> int | None:
        """The most speakers that may come out; None: as many as are heard."""
        return self.exactly or self.most


class Timed(Protocol):
    """Anything said at a time: a word or a segment."""

    @property
    def start_s(self) -> float:
        """Begin."""

    @property
    def end_s(self) -> float:
        """End."""


Said = TypeVar("Said", bound=Timed)


def renamed(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """Order by time and name speakers by first appearance."""
    names: dict[str, str] = {}
    ordered = sorted(turns, key=lambda turn: turn.start_s)
    for turn in ordered:
        names.setdefault(turn.speaker, f"SPEAKER_{len(names):02d}")
    return tuple(replace(turn, speaker=names[turn.speaker]) for turn in ordered)


def speaker_of(said: Timed, turns: Sequence[Turn]) -> str | None:
    """The speaker who overlaps most; without any overlap the nearest turn's; None without turns."""
    shares: dict[str, float] = defaultdict(float)
    for turn in turns:
        shared = min(turn.end_s, said.end_s) - max(turn.start_s, said.start_s)
        if shared > 0:
            shares[turn.speaker] += shared
    if shares:
        return max(shares, key=lambda speaker: shares[speaker])
    middle = (said.start_s + said.end_s) / 2
    nearest = min(
        turns, key=lambda turn: max(turn.start_s - middle, middle - turn.end_s), default=None
    )
    return nearest.speaker if nearest else None


def assign(words: Sequence[Said], turns: Sequence[Turn], island_s: float = 0.3) -> list[str | None]:
    """A speaker for every word; a shorter island of one speaker within another's words is joined."""
    speakers = [speaker_of(word, turns) for word in words]
    begin = 0
    while begin < len(words):
        end = begin + 1
        while end < len(words) and speakers[end] == speakers[begin]:
            end += 1
        is_inside = begin > 0 and end < len(words) and speakers[begin - 1] == speakers[end]
        if is_inside and words[end - 1].end_s - words[begin].start_s < island_s:
            speakers[begin:end] = [speakers[begin - 1]] * (end - begin)
        begin = end
    return speakers


def to_rttm(turns: Iterable[Turn], recording: str) -> str:
    """RTTM, one line a turn; blanks in the recording's name become underscores."""
    name = "_".join(recording.split()) or "recording"
    return "".join(
        f"SPEAKER {name} 1 {turn.start_s:.3f} {turn.end_s - turn.start_s:.3f} "
        f"<NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in turns
    )


def from_rttm(text: str) -> tuple[Turn, ...]:
    """Read SPEAKER lines; others are ignored, as the format asks.

    Raises:
        PipelineError: a SPEAKER line that is not one.
    """
    turns = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            start, length, speaker = float(fields[3]), float(fields[4]), fields[7]
        except (IndexError, ValueError) as error:
            raise PipelineError(f"line {number} is no turn in RTTM: {line[:80]}") from error
        turns.append(Turn(start, start + length, speaker))
    return tuple(turns)
