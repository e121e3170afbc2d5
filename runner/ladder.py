"""The way from a wish to a certain end: ask, TERM, KILL, each with its time.

    quiet ──ask──► asked ──grace──► terminating ──term grace──► killing
      ├────────────kill──────────────────────────────────────────► │
      └──hang──► dumping ──dump grace──────────────────────────────►

Pure: time comes in, rungs come out; `Minder` does what they say. The first reason stays, whoever asks
again; only the pace may become faster.
"""

from __future__ import annotations

from enum import IntEnum

from runner.limits import Limits


class Rung(IntEnum):
    """How far the ending of a child has gone; it never goes back."""

    QUIET = 0
    ASKED = 1
    DUMPING = 2
    TERMINATING = 3
    KILLING = 4


_AFTER = {
    Rung.ASKED: Rung.TERMINATING,
    Rung.DUMPING: Rung.KILLING,
    Rung.TERMINATING: Rung.KILLING,
    Rung.KILLING: Rung.KILLING,
}


class Ladder:
    """Where a child stands on the way down."""

    def __init__(self, limits: Limits) -> None:
        self.rung = Rung.QUIET
        self.kills = 0
        """How often KILLING was reached; the second time means that the first did not help."""
        self._next_at: float | None = None
        self._waits_s = {
            Rung.ASKED: limits.grace_s,
            Rung.DUMPING: limits.dump_grace_s,
            Rung.TERMINATING: limits.term_grace_s,
            Rung.KILLING: limits.term_grace_s,
        }

    @property
    def next_at(self) -> float | None:
        """When `climb` has something to do next; None while nobody wants an end."""
        return self._next_at

    def enter(self, rung: Rung, now: float) -> bool:
        """Go down to a rung; False if the child is there or further already."""
        if rung <= self.rung:
            return False
        self._go_to(rung, now)
        return True

    def climb(self, now: float) -> Rung | None:
        """The rung to act on now; None while there is time left. KILLING repeats."""
        if self._next_at is None or now < self._next_at:
            return None
        self._go_to(_AFTER[self.rung], now)
        return self.rung

    def postpone(self, by_s: float) -> None:
        """Give back time during which this machine slept."""
        if self._next_at is not None:
            self._next_at += by_s

    def _go_to(self, rung: Rung, now: float) -> None:
        self.rung = rung
        self.kills += rung is Rung.KILLING
        self._next_at = now + self._waits_s[rung]
