"""Where in a recording each symbol of a known text was said: CTC forced alignment by Viterbi.

Works on emissions of the recogniser; knows no sound and no words. Axis letters: u output frames,
c symbols, l symbols of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Spot:
    """One symbol's place: its best frame's log-probability, and the frames it fills."""

    log_p: float
    begin: int
    end: int


def align(log_p: Scores, ids: Sequence[int], blank_id: int) -> list[Spot]:
    """Place each symbol on the most likely path; log_p: (u, c).

    Raises:
        ValueError: the recording has too few frames for the text.
    """
    if not ids:
        return []
    path = _best_path(log_p, np.array(ids), blank_id)
    spots = []
    for index, symbol in enumerate(ids):
        frames = np.flatnonzero(path == 2 * index + 1)
        begin, end = int(frames[0]), int(frames[-1]) + 1
        spots.append(Spot(float(log_p[begin:end, symbol].max()), begin, end))
    return spots


def _best_path(log_p: Scores, ids: NDArray[np.int64], blank_id: int) -> NDArray[np.int64]:
    """For each frame, the place in `blank, id 0, blank, id 1, …, blank` (2 l + 1 places)."""
    places = np.full(2 * len(ids) + 1, blank_id)
    places[1::2] = ids
    # A blank may be passed over between two different symbols.
    may_skip = np.zeros(len(places), bool)
    may_skip[3::2] = ids[1:] != ids[:-1]
    frames = len(log_p)
    steps = np.zeros((frames, len(places)), np.int8)
    score = np.full(len(places), -np.inf)
    score[:2] = log_p[0, places[:2]]
    for frame in range(1, frames):
        options = np.full((3, len(places)), -np.inf)
        options[0] = score
        options[1, 1:] = score[:-1]
        options[2, 2:] = np.where(may_skip[2:], score[:-2], -np.inf)
        steps[frame] = options.argmax(axis=0)
        score = options.max(axis=0) + log_p[frame, places]
    place = len(places) - 1 if score[-1] >= score[-2] else len(places) - 2
    if not np.isfinite(score[place]):
        raise ValueError(f"{frames} frames have no room for {len(ids)} symbols")
    path = np.empty(frames, np.int64)
    for frame in range(frames - 1, -1, -1):
        path[frame] = place
        place -= int(steps[frame, place])
    return path
