"""Cues that people can read: short lines, long enough on the screen, never two at once.

    timed texts ─► cut to two lines ─► longer where there is room ─► Cue ─► pysubs2 ─► SRT, WebVTT

Limits are what broadcasters use. Lines are broken between words, or anywhere in scripts that have no spaces.
Knows no recogniser.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pysubs2

LINE_CHARACTERS = 42
LINES = 2
CUE_CHARACTERS = LINE_CHARACTERS * LINES
SHORTEST_S = 1.0
FASTEST_READING = 17.0
"""Characters a second; a cue stays longer than its speech where the next one leaves room."""
GAP_S = 0.08
"""Between cues, so that the eye notices the change."""
_CLAUSE_ENDS = tuple(".,;:!?…。、，；：！？।؟،")


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word with the space that stands before it, if any."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle."""

    start_s: float
    end_s: float
    text: str
    """Lines joined by line feeds."""
    speaker: str | None = None


def cues_of(words: Sequence[TimedWord], speaker: str | None = None) -> list[Cue]:
    """Cut one segment's words into cues of at most two lines each."""
    cues: list[Cue] = []
    rest = [word for word in words if word.text.strip()]
    while rest:
        count = _fitting(rest)
        taken, rest = rest[:count], rest[count:]
        text = "".join(word.text for word in taken).strip()
        end_s = max(word.end_s for word in taken)
        cues.append(Cue(taken[0].start_s, end_s, _in_lines(text), speaker))
    return cues


def paced(cues: Iterable[Cue]) -> list[Cue]:
    """Order cues, remove overlaps, and let each stay long enough to be read if there is room."""
    ordered = sorted(cues, key=lambda cue: (cue.start_s, cue.end_s))
    following = [*(cue.start_s for cue in ordered[1:]), float("inf")]
    return [_held(cue, next_s) for cue, next_s in zip(ordered, following, strict=False)]


def to_srt(cues: Sequence[Cue]) -> str:
    """SubRip: counters, decimal commas."""
    return _written(cues, "srt")


def to_vtt(cues: Sequence[Cue]) -> str:
    """WebVTT: header, signs of markup escaped."""
    escaped = [replace(cue, text=_escaped(cue.text)) for cue in cues]
    return _written(escaped, "vtt")


def _written(cues: Sequence[Cue], form: str) -> str:
    file = pysubs2.SSAFile()
    for cue in cues:
        text = f"{cue.speaker}: {cue.text}" if cue.speaker else cue.text
        event = pysubs2.SSAEvent(round(cue.start_s * 1000), round(cue.end_s * 1000))
        event.plaintext = text
        file.append(event)
    # Kept as written: a brace in a text is no style of pysubs2's own format.
    return file.to_string(form, keep_ssa_tags=True)


def _fitting(words: Sequence[TimedWord]) -> int:
    """How many words make the next cue: all if they fit, else up to the last clause end in the second half."""
    length, fitting, clause = 0, 0, 0
    for number, word in enumerate(words, start=1):
        length += len(word.text)
        if length > CUE_CHARACTERS and fitting:
            return clause or fitting
        fitting = number
        if length > CUE_CHARACTERS / 2 and word.text.endswith(_CLAUSE_ENDS):
            clause = number
    return fitting


def _in_lines(text: str) -> str:
    """Break a text into two lines of about equal length, the break at a space if there is one."""
    if len(text) <= LINE_CHARACTERS:
        return text
    spaces = [place for place, sign in enumerate(text) if sign == " "]
    possible = [p for p in spaces if max(p, len(text) - p - 1) <= LINE_CHARACTERS] or spaces
    if not possible:
        middle = (len(text) + 1) // 2
        return f"{text[:middle]}\n{text[middle:]}"
    # A clause end a few characters off the middle is the better place.
    place = min(
        possible, key=lambda p: abs(2 * p - len(text)) - 12 * text[:p].endswith(_CLAUSE_ENDS)
    )
    return f"{text[:place]}\n{text[place + 1 :]}"


def _held(cue: Cue, next_s: float) -> Cue:
    wanted_s = max(SHORTEST_S, len(cue.text) / FASTEST_READING)
    end_s = max(cue.end_s, cue.start_s + wanted_s)
    latest_s = max(next_s - GAP_S, cue.start_s + 0.001)
    return replace(cue, end_s=min(end_s, latest_s))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
