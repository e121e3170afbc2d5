"""What speaking and training cost, against the original StableTTS, in one run.

    python -m benchmarks.bench_tts CHECKOUT [--seconds 7] [--repeats 5] [--threads 2] [--cpu-time] [--skip memory,…]

`CHECKOUT` is the original's code, no part of this project; `torchdiffeq`, `numba` and `torchaudio` have to be
importable for it (PYTHONPATH). Published size, the same random weights in both, outputs compared. Ways alternate;
a ratio is the median over neighbours in time, so that other work on the machine hits both alike; on a very busy one,
`--cpu-time --threads 1` counts what was computed instead. Prints Markdown; exits 1 when a budget is missed. On CPUs only: what the GPU paths give has not been measured.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmarks.tts_original import TOKEN_FRAMES, Original, random_weights
from benchmarks.tts_ways import CLIPS, Speaking, Training
from pipelines.compute import has_native_bfloat16
from pipelines.tts.stabletts import align
from pipelines.tts.stabletts.acceleration import accelerate, choose_acceleration
from pipelines.tts.stabletts.blocks import length_mask
from pipelines.tts.stabletts.config import FRAMES_PER_S
from pipelines.tts.stabletts.dataset import speech_mel
from pipelines.tts.stabletts.flow import Prior, SamplingOptions
from pipelines.tts.stabletts.model import StableTTS

VERSES = 8
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
Way = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `ratio` is how many times less ours takes."""

    what: str
    theirs: float
    ours: float
    ratio: float
    budget: float | None = None
    unit: str = "s"

    @property
    def is_kept(self) -> bool:
        """Whether the budget is met, if there is one."""
        return self.budget is None or self.ratio >= self.budget

    def __str__(self) -> str:
        budget = "–" if self.budget is None else f"≥ {self.budget:g}"
        sizes = f"{self.theirs:.3g} {self.unit} | {self.ours:.3g} {self.unit}"
        return f"| {self.what} | {sizes} | {self.ratio:.2f} | {budget} |"


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements share."""

    path: Path
    original: Original
    frames: int
    repeats: int
    skip: frozenset[str]
    clock: Callable[[], float]

    def timed(
        self, what: str, theirs: Way, ours: Way, budget: float | None = None, repeats: int = 0
    ) -> Row:
        """Let both run in turns, once to get warm and then for the measurement."""
        if repeats != 1:  # what is done only once is slow enough not to notice
            for way in (theirs, ours):
                way()
        pairs = [
            (self._seconds(theirs), self._seconds(ours)) for _ in range(repeats or self.repeats)
        ]
        medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
        ratio = statistics.median(their_s / our_s for their_s, our_s in pairs)
        return Row(what, medians[0], medians[1], ratio, budget)

    def _seconds(self, way: Way) -> float:
        started = self.clock()
        way()
        return self.clock() - started


def speaking(bench: Bench) -> Iterator[Row]:
    """One utterance: ten Euler steps with guidance, then what users get."""
    model, vocoder = random_weights()
    contest = Speaking(bench.original, (model, vocoder), bench.frames)
    largest = float((contest.original() - contest.ours()).abs().max())
    if largest > 1e-4:
        raise AssertionError(f"the mels differ by {largest}")
    yield bench.timed("Euler-10 with guidance, float32", contest.original, contest.ours, 1.15)
    yield bench.timed(
        "Euler-10 with guidance, bfloat16 against float32",
        contest.original,
        lambda: contest.ours(narrow=True),
    )
    yield bench.timed(
        "Euler-10 with guidance, bfloat16 in both",
        lambda: contest.original(narrow=True),
        lambda: contest.ours(narrow=True),
    )
    if "adaptive" not in bench.skip:
        is_narrow = has_native_bfloat16(torch.device("cpu"))
        yield bench.timed(
            "defaults end to end with Vocos (theirs adapts its steps)",
            contest.original_sound,
            lambda: contest.our_sound(narrow=is_narrow),
            5.0,
            repeats=1,
        )
    if "compiled" not in bench.skip and shutil.which("g++"):
        accelerate(model, choose_acceleration(torch.device("cpu"), compiled=True))
        yield bench.timed(
            "Euler-10 with guidance, bfloat16 and compiled against float32",
            contest.original,
            lambda: contest.ours(narrow=True),
            2.0,
        )


@torch.inference_mode()
def batching(bench: Bench) -> Iterator[Row]:
    """Verses of like length together, against the same one by one."""
    model, _ = random_weights()
    lengths = torch.tensor([round(bench.frames * (1 - 0.03 * i)) for i in range(VERSES)])
    mask = length_mask(lengths, int(lengths.max()))
    prior = Prior(
        torch.randn(VERSES, model.config.n_mels, mask.shape[2]) * mask,
        mask,
        torch.randn(VERSES, model.config.gin_channels),
        padded=True,
    )
    for narrow in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            yield _batched(bench, model, prior, lengths, "bfloat16" if narrow else "float32")


def _batched(
    bench: Bench, model: StableTTS, prior: Prior, lengths: torch.Tensor, precision: str
) -> Row:
    noise, options = torch.randn(prior.mu.shape), SamplingOptions(steps=2)

    def one_by_one() -> None:
        for row, frames in enumerate(lengths.tolist()):
            alone = Prior(
                prior.mu[row : row + 1, :, :frames],
                prior.mask[row : row + 1, :, :frames],
                prior.c[row : row + 1],
                padded=False,
            )
            model.render(alone, noise[row : row + 1, :, :frames], options)

    what = f"{VERSES} ragged verses in one batch against ours one by one, {precision}"
    return bench.timed(what, one_by_one, lambda: model.render(prior, noise, options), 0.9)


def training(bench: Bench) -> Iterator[Row]:
    """A step on four clips, in either precision, and the search within it."""
    contest = Training(bench.original, random_weights(), bench.frames)
    both = "training step with AdamW, four clips,"
    wide = bench.timed(f"{both} float32", contest.original, contest.ours, 1.05)
    yield wide
    yield bench.timed(
        f"{both} bfloat16 against float32",
        contest.original,
        lambda: contest.ours(narrow=True),
        1.4,
    )
    yield bench.timed(
        f"{both} bfloat16 in both",
        lambda: contest.original(narrow=True),
        lambda: contest.ours(narrow=True),
    )
    for clips in (1, CLIPS, 16):
        row = _search(bench, clips)
        yield row
        if clips == CLIPS:
            shares = 100 * row.theirs / wide.theirs, 100 * row.ours / wide.ours
            yield Row("… its share of a float32 step", *shares, shares[0] / shares[1], unit="%")


def _search(bench: Bench, clips: int) -> Row:
    tokens = bench.frames // TOKEN_FRAMES
    scores = torch.randn(clips, bench.frames, tokens)
    mask = torch.ones_like(scores)
    sizes = torch.full((clips,), bench.frames), torch.full((clips,), tokens)
    expected = bench.original.search(scores, mask).argmax(dim=2)
    if not torch.equal(expected, align.search(scores, *sizes)):
        raise AssertionError("the alignments differ")
    return bench.timed(
        f"alignment search, {clips} clips",
        lambda: bench.original.search(scores, mask),
        lambda: align.search(scores, *sizes),
        1.0,
        repeats=10 * bench.repeats,
    )


def preprocessing(bench: Bench) -> Iterator[Row]:
    """A recording of 48 kHz to its mel; ours also trims, levels and checks it."""
    theirs = bench.original.preprocessor()
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "verse.flac"
        seconds = bench.frames / FRAMES_PER_S
        noise = np.random.default_rng(0).normal(0, 0.05, round(48_000 * seconds))
        soundfile.write(path, noise, 48_000)
        yield bench.timed(
            "preprocessing of a FLAC of 48 kHz", lambda: theirs(path), lambda: speech_mel(path)
        )


def memory(bench: Bench) -> Iterator[Row]:
    """Peaks above the loaded model, each in a process of its own."""
    if "memory" in bench.skip:
        return
    names = {
        "speaking": "peak memory of an utterance, float32",
        "training": "peak memory of a training step, float32",
        "training-bf16": "peak memory of a training step, bfloat16 in both",
    }
    for what, name in names.items():
        theirs, ours = (_peak(bench, who, what) for who in ("original", "ours"))
        budget = 1.0 if what == "training" else None
        yield Row(name, theirs, ours, theirs / ours, budget, "MiB")


def _peak(bench: Bench, who: str, what: str) -> float:
    program = [sys.executable, "-m", "benchmarks.tts_memory"]
    arguments = [str(bench.path), who, what, str(bench.frames)]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=True)
    return float(done.stdout)


def machine() -> str:
    """The processor, what it can do of what matters here, and torch."""
    info = Path("/proc/cpuinfo").read_text("ascii", errors="replace").splitlines()
    facts = dict(line.split(":", 1) for line in info if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = set(facts.get("flags", "").split())
    has = ", ".join(flag if flag in flags else f"no {flag}" for flag in FLAGS)
    name, threads = facts.get("model name", "unknown"), torch.get_num_threads()
    return f"{name} ({has}), {threads} threads, torch {torch.__version__}"


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--seconds", type=float, default=7.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="instead of the clock on the wall")
    parser.add_argument("--skip", default="", help="any of adaptive, compiled, memory")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    frames = round(arguments.seconds * FRAMES_PER_S / TOKEN_FRAMES) * TOKEN_FRAMES
    bench = Bench(
        arguments.checkout,
        Original.at(arguments.checkout),
        frames,
        arguments.repeats,
        frozenset(arguments.skip.split(",")),
        time.process_time if arguments.cpu_time else time.perf_counter,
    )
    clock = "CPU time" if arguments.cpu_time else "wall time"
    print(f"{machine()}; {arguments.seconds:g} s of speech; {clock}\n")
    print("| | original | ours | ratio | budget |\n|---|---|---|---|---|", flush=True)
    missed = False
    for measure in (training, preprocessing, memory, batching, speaking):
        for row in measure(bench):
            print(row, flush=True)
            missed |= not row.is_kept
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
