"""Text correctors against each other: the same misheard verses to learn from, the same held-out ones to correct.

    python -m benchmarks.correctors [--corpora 5] [--known 100] [--texts 400]

Per corpus (`heard_texts`) there are verses with what a recogniser made of them, texts that nobody recorded, and verses
to judge by. Every way gets the same examples and, where it says so, the same time: our own network,
the same with as much time as the trees, and SentenceTransmorgrifier's trees. A last line runs the library itself
on what the trees have learnt, and compares every letter. Times are the processor's, all threads together.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.heard_texts import CORPORA, pairs, verses
from pipelines.asr.corrector import network
from pipelines.asr.corrector.corrector import Corrector, Pair
from pipelines.asr.corrector.edits import END
from pipelines.asr.corrector.kinds import Learner, TextCorrector
from pipelines.asr.corrector.proof import examples
from pipelines.asr.corrector.tree_corrector import FILE, TreeCorrector
from pipelines.text.metrics import error_rates
from pipelines.text.normalize import spoken_form

JUDGED = 100
SHORT_S = 8.0  # about what our own network takes
LONGER_STEPS = 4_500  # and this is about what the trees take
IN_THE_LIBRARY = 30  # texts


@dataclass(frozen=True, slots=True)
class Score:
    """How one way did on one corpus."""

    cer: float
    wer: float
    training_s: float
    per_verse_s: float


@dataclass(frozen=True, slots=True)
class Material:
    """What all ways get."""

    learnt: Sequence[Pair]
    judged: Sequence[Pair]


def material(corpus: str, seed: int, known: int, texts: int) -> Material:
    """Of one corpus, the same for the same seed."""
    chosen = verses(corpus)[: known + JUDGED + texts]
    recorded = pairs(chosen[: known + JUDGED], seed)
    learnt = examples(recorded[:known], chosen[known + JUDGED :], spoken_form, seed)
    return Material(learnt, recorded[known:])


def judge(way: Learner, given: Material) -> tuple[Score, TextCorrector | None]:
    """Train it and correct what it has not seen; without a corrector texts stay as they were heard."""
    heard, said = (list(column) for column in zip(*given.judged, strict=True))
    started = time.process_time()
    corrector = way(given.learnt)
    trained = time.process_time()
    corrected = corrector.correct(heard) if corrector else heard
    ended = time.process_time()
    rates = error_rates(said, corrected)
    times = (trained - started, (ended - trained) / len(heard))
    return Score(rates.cer, rates.wer, *times), corrector


def longer(learnt: Sequence[Pair]) -> Corrector:
    """Our network with the time of the trees."""
    with _changed(LONGER_STEPS):
        return Corrector.trained(learnt)


def shorter(learnt: Sequence[Pair]) -> TreeCorrector | None:
    """The trees with the time of our network."""
    return TreeCorrector.trained(learnt, budget_s=SHORT_S)


WAYS: dict[str, Learner] = {
    "none": lambda _: None,
    "own": Corrector.trained,
    "own, with the trees' time": longer,
    "trees, with our time": shorter,
    "trees": TreeCorrector.trained,
}


@contextmanager
def _changed(steps: int) -> Iterator[None]:
    usual = network.MOST_STEPS, network.PASSES
    network.MOST_STEPS, network.PASSES = steps, 100
    try:
        yield
    finally:
        network.MOST_STEPS, network.PASSES = usual


def library_ratio(corrector: TreeCorrector, texts: Sequence[str]) -> float:
    """How many times as long the library takes for the same output."""
    from sentence_transmorgrifier.transmorgrify import Transmorgrifier

    with tempfile.TemporaryDirectory() as scratch:
        corrector.save(Path(scratch))
        theirs = Transmorgrifier().load(str(Path(scratch) / FILE))
    marked = [f"{text}{chr(END)}" for text in texts]
    corrector.execute(marked)
    started = time.process_time()
    ours = corrector.execute(marked)
    middle = time.process_time()
    if list(theirs.execute(marked)) != ours:
        raise SystemExit("the library writes something else")
    return (time.process_time() - middle) / (middle - started)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=int, default=len(CORPORA))
    parser.add_argument("--known", type=int, default=100)
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| corpus | corrector | CER | WER | training | a verse |\n|---|---|---|---|---|---|")
    scores: dict[str, list[Score]] = {name: [] for name in WAYS}
    ratios = []
    for seed, corpus in enumerate(CORPORA[: arguments.corpora]):
        given = material(corpus, seed, arguments.known, arguments.texts)
        for name, way in WAYS.items():
            score, corrector = judge(way, given)
            scores[name].append(score)
            print(_row(corpus, name, score), flush=True)
        if isinstance(corrector, TreeCorrector):
            heard = [text for text, _ in given.judged[:IN_THE_LIBRARY]]
            ratios.append(library_ratio(corrector, heard))
    for name, all_of in scores.items():
        print(_row("mean", name, _mean(all_of)))
    print(
        f"\nThe library takes {statistics.median(ratios):.0f} times as long for the same {IN_THE_LIBRARY} texts."
    )
    return 0


def _mean(scores: Sequence[Score]) -> Score:
    def mean(value: Callable[[Score], float]) -> float:
        return statistics.mean(map(value, scores))

    return Score(
        mean(lambda s: s.cer),
        mean(lambda s: s.wer),
        mean(lambda s: s.training_s),
        mean(lambda s: s.per_verse_s),
    )


def _row(corpus: str, name: str, score: Score) -> str:
    times = f"{score.training_s:.1f} s | {score.per_verse_s * 1e3:.2f} ms"
    return f"| {corpus} | {name} | {score.cer:.1%} | {score.wer:.1%} | {times} |"


if __name__ == "__main__":
    raise SystemExit(main())
