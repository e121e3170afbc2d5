"""Training a corrector and proving that it helps: no proof, no corrector.

    held-out verses, as heard ─┬─► some folds, and all other text misheard the same way ─► train
                               └─► the fold left out ─► corrected: fewer wrong characters?

Every verse is judged by a corrector that has not seen it, on output of a recogniser that was not trained
on it. What the recogniser says of its own training verses is never used: it knows those by heart.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.asr.corrector.corrector import Corrector, Pair
from pipelines.asr.corrector.noise import Mishearing
from pipelines.text.metrics import error_rates
from pipelines.text.normalize import canonical

FOLDS = 3
LEAST_PAIRS = 6
"""With fewer there is nothing to prove."""
MOST_TEXTS = 1_200
"""Texts without a recording that one training uses."""
LEAST_GAIN = 0.02
"""Share of the wrong characters that must go; less may be chance."""


@dataclass(frozen=True, slots=True)
class Material:
    """What to learn from; all texts as the project writes them.

    `heard` are held-out verses with what the recogniser made of them, `texts` other texts, and
    `spelling` turns a written text into one with the recogniser's own signs.
    """

    heard: Sequence[Pair]
    texts: Sequence[str]
    spelling: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Proof:
    """A corrector, if it helps, and what was measured: character error rates of texts as written."""

    corrector: Corrector | None
    cer_before: float | None = None
    cer_after: float | None = None


def prove(material: Material, poll: Callable[[], None], *, seed: int = 0) -> Proof:
    """Train and judge; `poll` is called between trainings and may raise.

    Without held-out recordings the judges are texts alone, heard perfectly: what is proved then is
    that capitals and punctuation come back.
    """
    judges, others = _judges(material, seed)
    if len(judges) < LEAST_PAIRS:
        return Proof(None)
    wins, before, after = 0, [0.0, 0.0], [0.0, 0.0]
    for fold in range(FOLDS):
        poll()
        judged = judges[fold::FOLDS]
        known = [pair for number, pair in enumerate(judges) if number % FOLDS != fold]
        corrector = _trained(known, others, material.spelling, seed)
        corrected = corrector.correct([heard for heard, _ in judged])
        wrong_before = _wrong(judged)
        wrong_after = _wrong(
            [(text, said) for text, (_, said) in zip(corrected, judged, strict=True)]
        )
        wins += wrong_after < wrong_before
        size = sum(len(said) for _, said in judged)
        before = [before[0] + wrong_before, before[1] + size]
        after = [after[0] + wrong_after, after[1] + size]
    cer_before, cer_after = before[0] / before[1], after[0] / after[1]
    helps = wins * 2 > FOLDS and cer_after <= (1.0 - LEAST_GAIN) * cer_before - 1e-9
    if not helps:
        return Proof(None, cer_before, cer_after)
    poll()
    return Proof(_trained(judges, others, material.spelling, seed), cer_before, cer_after)


def _judges(material: Material, seed: int) -> tuple[list[Pair], list[str]]:
    """Pairs to judge by, and the texts that none of them contains."""
    judges = [(heard, canonical(said)) for heard, said in material.heard if canonical(said)]
    texts = sorted({canonical(text) for text in material.texts} - {""})
    random.Random(seed).shuffle(texts)
    if not judges:
        count = len(texts) // 3
        judges = [(material.spelling(text), text) for text in texts[:count]]
    said = {text for _, text in judges}
    return judges, [text for text in texts if text not in said]


def _trained(
    pairs: Sequence[Pair], texts: Sequence[str], spelling: Callable[[str], str], seed: int
) -> Corrector:
    dice = random.Random(seed)
    mishearing = Mishearing((heard, spelling(said)) for heard, said in pairs)
    imagined = [(mishearing.distort(spelling(text), dice), text) for text in texts[:MOST_TEXTS]]
    return Corrector.trained([*pairs, *imagined], seed=seed)


def _wrong(pairs: Sequence[Pair]) -> float:
    """Wrong characters in all."""
    heard, said = (list(column) for column in zip(*pairs, strict=True))
    return error_rates(said, heard).cer * sum(map(len, said))
