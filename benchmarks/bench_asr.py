"""What training and transcribing cost, against the obvious ways to do it, in one run.

    python -m benchmarks.bench_asr [--threads 1] [--verses 1000] [--only padding,batches,…]

Contestants take turns; a ratio is the median over neighbours in time, of the processor's time, so that other work
on the machine hits both alike. Speech is synthetic (`spoken_language`), weights are random. Prints Markdown; exits 1 when
a budget is missed. On CPUs only.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from transformers.models.wav2vec2_bert import modeling_wav2vec2_bert

from benchmarks.asr_memory import peak_mb
from benchmarks.asr_networks import FULL_WIDTH, forward, network
from benchmarks.asr_precision import cer_by_precision
from benchmarks.asr_trainer import epochs_of_ours, epochs_of_trainer
from benchmarks.spoken_language import Language, record
from pipelines.asr.w2v2bert import beam, model
from pipelines.asr.w2v2bert.attention import CACHED_BYTES, laid_out
from pipelines.asr.w2v2bert.config import FRAME_S, tiny
from pipelines.asr.w2v2bert.language_model import CharacterModel
from pipelines.asr.w2v2bert.listening import BATCH_ON_CPU_S
from pipelines.asr.w2v2bert.reader import best_symbols
from pipelines.asr.w2v2bert.transcribe import Recording, Transcriber
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.compute import has_native_bfloat16
from pipelines.progress import ignore_progress
from pipelines.training.batching import plan_batches, plan_epoch

FULL_LAYERS = 2  # two of the published model's 24 layers: a machine is shared
BATCH_S = 80.0
BATCH = 8
Way = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `ratio` is how many times less ours takes, unless it says otherwise."""

    what: str
    theirs: str
    ours: str
    value: float
    budget: float | None = None
    is_upper: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether the budget is met, if there is one."""
        if self.budget is None:
            return True
        return self.value <= self.budget if self.is_upper else self.value >= self.budget

    def __str__(self) -> str:
        sign = "≤" if self.is_upper else "≥"
        budget = "–" if self.budget is None else f"{sign} {self.budget:g}"
        mark = "" if self.is_kept else " **missed**"
        return f"| {self.what} | {self.theirs} | {self.ours} | {self.value:.3g} | {budget}{mark} |"


def padding() -> Iterator[Row]:
    """Padding of an epoch over 2,000 verses as long as those of a Bible."""
    lengths = _verse_lengths(2_000)
    budget = round(BATCH_S / FRAME_S)
    ours = plan_epoch(lengths, budget, seed=0, epoch=1).padding_waste
    order = random.Random(0).sample(range(len(lengths)), len(lengths))
    theirs = plan_batches(lengths, budget, order=order).padding_waste
    yield Row(
        "padding, share of the sound", f"{theirs:.1%}", f"{ours:.1%}", ours, 0.05, is_upper=True
    )


def batches() -> Iterator[Row]:
    """96 verses through a small encoder: grouped by length, in random batches, one by one, as we do."""
    lengths = _verse_lengths(96)
    encoder = network(256, 1)
    sorted_ = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    same_size = [tuple(sorted_[i : i + BATCH]) for i in range(0, len(sorted_), BATCH)]
    shuffled = random.Random(1).sample(sorted_, len(sorted_))
    mixed = [tuple(shuffled[i : i + BATCH]) for i in range(0, len(shuffled), BATCH)]
    single = [(index,) for index in sorted_]
    ours = plan_batches(lengths, round(BATCH_ON_CPU_S / FRAME_S)).batches
    run = partial(_forward_all, encoder, lengths)
    plans = (mixed, same_size, single, ours)
    random_s, grouped_s, single_s, ours_s = _alternate([partial(run, plan) for plan in plans], 2)
    yield _ratio("96 verses in batches of 8, by length against random", random_s, grouped_s, 1.5)
    yield _ratio("the same, against one by one", single_s, grouped_s)
    yield _ratio(
        "batches as transcribing makes them, against random ones of 8", random_s, ours_s, 1.5
    )
    yield _ratio("batches as transcribing makes them, against one by one", single_s, ours_s, 0.9)


def precision() -> Iterator[Row]:
    """bfloat16 against float32: time at full width, errors of a small recogniser that has learnt something."""
    if not has_native_bfloat16(torch.device("cpu")):
        return
    plain = network(FULL_WIDTH, FULL_LAYERS)
    narrow = network(FULL_WIDTH, FULL_LAYERS).to(torch.bfloat16)
    lengths = [250, 250]
    theirs, ours = _alternate(
        [partial(forward, plain, lengths), partial(forward, narrow, lengths)], 5
    )
    yield _ratio("full width, bf16 against fp32", theirs, ours, 3.0)
    wrong, narrow_wrong = cer_by_precision()
    lost = 100 * (narrow_wrong - wrong)
    yield Row(
        "characters wrong in bf16 beyond fp32, points",
        f"{wrong:.2%}",
        f"{narrow_wrong:.2%}",
        lost,
        0.5,
        is_upper=True,
    )


def attention() -> Iterator[Row]:
    """Relative positions by distance against transformers' own, equal bits."""
    for what, width, layers, seconds, dtype, budget in (
        ("full width, bf16, 25 s", FULL_WIDTH, FULL_LAYERS, 25, torch.bfloat16, 1.1),
        ("full width, bf16, 8 s", FULL_WIDTH, FULL_LAYERS, 8, torch.bfloat16, 1.0),
        ("full width, fp32, 25 s", FULL_WIDTH, FULL_LAYERS, 25, torch.float32, 1.1),
        ("full width, fp32, 8 s", FULL_WIDTH, FULL_LAYERS, 8, torch.float32, 1.0),
        ("tiny preset (96 × 2), 25 s", 96, 2, 25, torch.float32, 1.5),
        ("144 × 4, 25 s", 144, 4, 25, torch.float32, 1.5),
    ):
        plain, ours = (network(width, layers, faster=f).to(dtype) for f in (False, True))
        lengths = [round(seconds / FRAME_S)]
        if not torch.equal(forward(plain, lengths), forward(ours, lengths)):
            raise SystemExit(f"outputs differ: {what}")
        pair = _alternate([partial(forward, plain, lengths), partial(forward, ours, lengths)], 5)
        yield _ratio(f"forward against transformers' own, {what}", *pair, budget)
    yield from _positions()
    yield from _peaks()


def _positions() -> Iterator[Row]:
    """The part alone: what distance adds to attention."""
    for what, width, dtype in (
        ("full width, bf16", FULL_WIDTH, torch.bfloat16),
        ("full width, fp32", FULL_WIDTH, torch.float32),
        ("tiny preset, fp32", 96, torch.float32),
    ):
        model: Any = network(width, 1).to(dtype)
        layer = model.wav2vec2_bert.encoder.layers[0].self_attn
        query = torch.randn(1, layer.num_heads, round(25 / FRAME_S), layer.head_size, dtype=dtype)
        ways = [partial(_transformers_bias, layer, query), partial(_our_bias, layer, query)]
        theirs, ours = _alternate(ways, 5)
        yield _ratio(f"relative positions alone, {what}, 25 s", theirs, ours, 3.0)


@torch.inference_mode()
def _transformers_bias(layer: Any, query: torch.Tensor) -> torch.Tensor:
    _, bias = modeling_wav2vec2_bert._apply_relative_key_position_encoding(layer, query, query)
    whole: torch.Tensor = bias
    return whole


@torch.inference_mode()
def _our_bias(layer: Any, query: torch.Tensor) -> None:
    embeddings = layer.distance_embedding.weight.to(query.dtype)
    by_distance = torch.matmul(query, embeddings.T) * layer.scaling
    together = max(1, CACHED_BYTES // (query.shape[2] ** 2 * query.element_size()))
    for heads in by_distance.split(together, dim=1):  # as attention takes them
        laid_out(heads, layer.left_max_position_embeddings)


def _peaks() -> Iterator[Row]:
    """Peak memory beyond the weights of one forward pass of 25 s, in a process of its own."""
    theirs, ours = (peak_mb(FULL_WIDTH, FULL_LAYERS, 25, faster=f) for f in (False, True))
    what = "peak memory of a forward pass, full width, bf16, 25 s"
    yield Row(what, f"{theirs:.0f} MB", f"{ours:.0f} MB", theirs / ours, 1.0)


def training() -> Iterator[Row]:
    """One epoch of the tiny preset over 96 sentences, our loop and transformers' Trainer by turns."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        sentences = Language().sentences(96, seed=1)
        paths = record(sentences, home / "recordings")
        texts = [sentence.text for sentence in sentences]
        theirs, ours = [], []
        for turn in range(3):
            ours += epochs_of_ours(paths, texts, home / f"ours{turn}")
            theirs += epochs_of_trainer(paths, texts, home / f"theirs{turn}")
    yield _ratio(
        "training epoch against transformers' Trainer, grouped by length", theirs, ours, 1.0
    )


def decoding() -> Iterator[Row]:
    """Beam search with a language model against the best symbol of every frame, 16 clips of 10 s."""
    dice = np.random.default_rng(0)
    symbols, frames = 40, 250
    text = [list(dice.integers(1, symbols, 60)) for _ in range(2_000)]
    language = CharacterModel.from_sentences(text, symbols=symbols, boundary=0)
    emissions = []
    for _ in range(16):
        logits = dice.normal(size=(frames, symbols)) * 2.0
        logits[np.arange(frames), dice.integers(1, symbols, frames)] += 7.0
        logits[1::2, 0] += 12.0
        emissions.append((logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32))
    weights = beam.Weights(0.5, 0.5)
    greedy, searched = _alternate(
        [
            lambda: [best_symbols(one, 0) for one in emissions],
            lambda: beam.search(emissions, language, weights),
        ],
        5,
    )
    speech_s = len(emissions) * frames * 2 * FRAME_S
    share = statistics.median(searched) / speech_s
    greedy_ms = statistics.median(greedy) / speech_s * 1e3
    yield Row(
        "beam search, share of the speech's own time",
        f"greedy {greedy_ms:.2f} ms a second",
        f"{share * 1e3:.2f} ms a second",
        share,
        0.05,
        is_upper=True,
    )


def memory(verses: int) -> Iterator[Row]:
    """Growth of the process over many verses, after the first hundred."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        paths = record(Language().sentences(25, seed=3), home / "recordings")
        directory = home / "model"
        directory.mkdir()
        model.build(tiny(), Vocabulary.from_texts(["abdegiklmnoprstu"])).save(directory)
        transcriber = Transcriber(directory, device="cpu")
        recordings = [Recording(str(n), paths[n % len(paths)]) for n in range(verses)]
        before = 0.0
        for number, _ in enumerate(transcriber.transcribe(recordings, ignore_progress)):
            if number == 100:
                before = _resident_mb()
        grown = _resident_mb() - before
    yield Row(
        f"memory grown over {verses} verses, MB", "–", f"{grown:.1f}", grown, 50, is_upper=True
    )


def _verse_lengths(count: int) -> list[int]:
    """In frames; the spread of Bible verses read aloud (median 9.7 s, 5.1 to 19.2 s for nine of ten)."""
    dice = random.Random(4)
    return [round(dice.lognormvariate(np.log(9.7), 0.4) / FRAME_S) for _ in range(count)]


def _forward_all(
    encoder: torch.nn.Module, lengths: Sequence[int], plan: Sequence[Sequence[int]]
) -> None:
    for batch in plan:
        forward(encoder, [lengths[index] for index in batch])


def _alternate(ways: Sequence[Way], rounds: int) -> list[list[float]]:
    """Processor seconds of each way in each round; the first round only warms up."""
    taken: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + 1):
        for way, times in zip(ways, taken, strict=True):
            started = time.process_time()
            way()
            if number:
                times.append(time.process_time() - started)
    return taken


def _ratio(
    what: str, theirs: Sequence[float], ours: Sequence[float], budget: float | None = None
) -> Row:
    ratio = statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
    medians = (f"{statistics.median(times):.2f} s" for times in (theirs, ours))
    return Row(what, *medians, ratio, budget)


def _resident_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--verses", type=int, default=1_000)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "padding": padding,
        "batches": batches,
        "precision": precision,
        "attention": attention,
        "training": training,
        "decoding": decoding,
        "memory": partial(memory, arguments.verses),
    }
    chosen = arguments.only.split(",") if arguments.only else list(parts)
    print("| what | theirs | ours | ratio or value | budget |\n|---|---|---|---|---|")
    all_kept = True
    for name in chosen:
        for row in parts[name]():
            print(row, flush=True)
            all_kept &= row.is_kept
    return 0 if all_kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
