"""Training a corrector and proving that it helps: no proof, no corrector.

    held-out verses, as heard ─┬─► some folds, and all other text misheard the same way ─► train
                               └─► the fold left out ─► corrected: fewer wrong characters?

Every verse is judged by a corrector that has not seen it, on output of a recogniser that was not trained
on it. What the recogniser says of its own training verses is never used: it knows those by heart.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.asr.corrector.corrector import Pair
from pipelines.asr.corrector.kinds import OWN, CorrectorKind, Learner, TextCorrector
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

    corrector: TextCorrector | None
    cer_before: float | None = None
    cer_after: float | None = None
    kind: CorrectorKind | None = None


def prove(
    material: Material,
    poll: Callable[[], None],
    *,
    seed: int = 0,
    learners: Mapping[CorrectorKind, Learner] = OWN,
) -> Proof:
    """Train each kind and judge; the best that helps stays. `poll` is called between trainings and may raise.

    Without held-out recordings the judges are texts alone, heard perfectly: what is proved then is
    that capitals and punctuation come back.
    """
    judges, others = _judges(material, seed)
    if len(judges) < LEAST_PAIRS:
        return Proof(None)
    folds = [_fold(judges, others, material.spelling, seed, number) for number in range(FOLDS)]
    verdicts = [_verdict(kind, learner, folds, poll) for kind, learner in learners.items()]
    best = min(verdicts, key=lambda verdict: (not verdict.helps, verdict.cer_after))
    corrector = None
    if best.helps:
        poll()
        corrector = learners[best.kind](examples(judges, others, material.spelling, seed))
    return Proof(corrector, best.cer_before, best.cer_after, best.kind)


def examples(
    pairs: Sequence[Pair], texts: Sequence[str], spelling: Callable[[str], str], seed: int
) -> list[Pair]:
    """What a corrector learns from: pairs, and texts misheard as those were."""
    dice = random.Random(seed)
    mishearing = Mishearing((heard, spelling(said)) for heard, said in pairs)
    imagined = [(mishearing.distort(spelling(text), dice), text) for text in texts[:MOST_TEXTS]]
    return [*pairs, *imagined]


@dataclass(frozen=True, slots=True)
class _Fold:
    """What to learn from, and verses of which nothing is in it."""

    learnt: Sequence[Pair]
    judged: Sequence[Pair]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """How one kind did on all folds together."""

    kind: CorrectorKind
    wins: int
    cer_before: float
    cer_after: float

    @property
    def helps(self) -> bool:
        """Whether most folds have fewer wrong characters, and all together clearly fewer."""
        limit = (1.0 - LEAST_GAIN) * self.cer_before - 1e-9
        return self.wins * 2 > FOLDS and self.cer_after <= limit


def _fold(
    judges: Sequence[Pair],
    others: Sequence[str],
    spelling: Callable[[str], str],
    seed: int,
    number: int,
) -> _Fold:
    known = [pair for index, pair in enumerate(judges) if index % FOLDS != number]
    return _Fold(examples(known, others, spelling, seed), judges[number::FOLDS])


def _verdict(
    kind: CorrectorKind, learner: Learner, folds: Sequence[_Fold], poll: Callable[[], None]
) -> _Verdict:
    wins, before, after = 0, 0.0, 0.0
    for fold in folds:
        poll()
        corrector = learner(fold.learnt)
        heard, said = (list(column) for column in zip(*fold.judged, strict=True))
        corrected = corrector.correct(heard) if corrector else heard
        wrong_before, wrong_after = _wrong(heard, said), _wrong(corrected, said)
        wins += wrong_after < wrong_before
        before, after = before + wrong_before, after + wrong_after
    size = sum(len(said) for fold in folds for _, said in fold.judged)
    return _Verdict(kind, wins, before / size, after / size)


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


def _wrong(heard: Sequence[str], said: Sequence[str]) -> float:
    """Wrong characters in all."""
    return error_rates(said, heard).cer * sum(map(len, said))
