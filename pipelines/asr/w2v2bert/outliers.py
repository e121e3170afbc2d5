"""Recordings that do not fit their text, told by how they differ from the rest of the project.

A verse whose text was changed after it was recorded, a take of the wrong verse, a copied file: one such
pair teaches the recogniser something wrong. What differs beyond doubt is left out, and every one is
named with its reason. Knows no sound: works on texts, lengths, counts and digests.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median

import numpy as np

from pipelines.asr.w2v2bert.language_model import CharacterModel

LEAST_CLIPS = 12
"""With fewer, nobody can say what is usual."""
FURTHEST = 6.0
"""How many median deviations a speech rate may lie from the median …"""
LEAST_FACTOR = 1.8
"""… if it is also this many times faster or slower."""
LEAST_LOUD_SHARE = 0.2
"""With less of it audible, most of a recording is silence."""
MOST_FOREIGN_SHARE = 0.2
"""With more letters that the project hardly uses, a text is in another language or script."""
ORDER, FOLDS = 3, 5
"""Of the letters that follow each other, compared with those of the other folds' texts."""
LEAST_STRANGE = 1.0
"""How much less likely a letter must be, in nats, before a text is in another language …"""
LEAST_LETTERS = 20
"""… if it is not just a few words."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is compared of one clip."""

    id: str
    text: str
    duration_s: float
    loud_share: float
    foreign_share: float
    """Share of its letters that are not in the vocabulary."""
    digest: str
    """Of the sound: equal for copies."""


def outliers(clips: Sequence[Measured]) -> Mapping[str, str]:
    """Reasons to leave clips out, by id; each completes "… was left out:"."""
    found: dict[str, str] = {}
    checks = (_copies(clips), _odd_alone(clips), _odd_rates(clips), _odd_languages(clips))
    for identity, reason in chain(*checks):
        found.setdefault(identity, reason)
    return found


def _copies(clips: Sequence[Measured]) -> Iterator[tuple[str, str]]:
    """Of equal recordings with different texts, at most one is right, and nobody knows which."""
    by_digest: dict[str, list[Measured]] = defaultdict(list)
    for clip in clips:
        by_digest[clip.digest].append(clip)
    for group in by_digest.values():
        if len({clip.text for clip in group}) > 1:
            for clip in group:
                other = next(one.id for one in group if one.text != clip.text)
                yield clip.id, f"{other} has the same recording with another text"


def _odd_alone(clips: Sequence[Measured]) -> Iterator[tuple[str, str]]:
    for clip in clips:
        if clip.loud_share < LEAST_LOUD_SHARE:
            yield clip.id, f"only {clip.loud_share:.0%} of the recording is not silence"
        if clip.foreign_share > MOST_FOREIGN_SHARE:
            yield clip.id, "its text has letters that the other texts do not have"


def _odd_rates(clips: Sequence[Measured]) -> Iterator[tuple[str, str]]:
    """Robust in both directions: a few wrong pairs do not move a median."""
    if len(clips) < LEAST_CLIPS:
        return
    logs = [math.log(_rate(clip)) for clip in clips]
    usual, spread = _usual(logs, 0.02)
    for clip, value in zip(clips, logs, strict=True):
        distance = abs(value - usual)
        if distance > FURTHEST * spread and distance > math.log(LEAST_FACTOR):
            yield (
                clip.id,
                f"its text has {_rate(clip):.1f} characters for a second of the recording, "
                f"others have about {math.exp(usual):.1f}",
            )


def _odd_languages(clips: Sequence[Measured]) -> Iterator[tuple[str, str]]:
    """Texts whose letters do not follow each other as they do in the other texts."""
    if len(clips) < LEAST_CLIPS:
        return
    numbers = {letter: n for n, letter in enumerate(sorted({*"".join(c.text for c in clips)}), 1)}
    sentences = [[numbers[letter] for letter in clip.text] for clip in clips]
    likely = np.empty(len(clips))
    for fold in range(FOLDS):
        others = [one for number, one in enumerate(sentences) if number % FOLDS != fold]
        model = CharacterModel.from_sentences(
            others, symbols=len(numbers) + 1, boundary=0, order=ORDER
        )
        likely[fold::FOLDS] = model.means(sentences[fold::FOLDS])
    usual, spread = _usual(likely.tolist(), 0.1)
    for clip, value in zip(clips, likely, strict=True):
        distance = usual - value
        if distance > max(FURTHEST * spread, LEAST_STRANGE) and len(clip.text) >= LEAST_LETTERS:
            yield clip.id, "its text looks like another language than the other texts"


def _usual(values: Sequence[float], least_spread: float) -> tuple[float, float]:
    """Median, and median distance from it."""
    usual = median(values)
    return usual, max(median(abs(value - usual) for value in values), least_spread)


def _rate(clip: Measured) -> float:
    return max(len(clip.text), 1) / max(clip.duration_s, 0.1)
