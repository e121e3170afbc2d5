"""What speaking and training cost, against a straightforward way to do the same, in one run.

    python -m benchmarks.bench_tts [--seconds 7] [--repeats 3] [--adaptive] [--compile] [--threads N]

Published size, random weights. The straightforward way digests the text anew at every call of the network, speaks
verse by verse and computes in float32; it shares everything else with ours, so it is quicker than other
implementations. Ways alternate and the fastest run of each counts, so that other work on
the machine disturbs both alike. Prints a Markdown table; exits 1 when a budget is missed. On CPUs only: what the
GPU paths give has not been measured.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipelines.compute import has_native_bfloat16
from pipelines.tts.stabletts.align import spread
from pipelines.tts.stabletts.blocks import length_mask
from pipelines.tts.stabletts.config import FRAMES_PER_S, ModelConfig, VocosConfig
from pipelines.tts.stabletts.flow import Prior, SamplingOptions
from pipelines.tts.stabletts.model import Batch, Draws, StableTTS
from pipelines.tts.stabletts.solvers import Field, Solver, integrate
from pipelines.tts.stabletts.vocos import Vocos

SYMBOLS_PER_S = 14
VERSES = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: how many times as fast as the straightforward way."""

    what: str
    plain_s: float
    ours_s: float
    budget: float | None = None

    @property
    def ratio(self) -> float:
        """Above 1: faster."""
        return self.plain_s / self.ours_s

    @property
    def is_kept(self) -> bool:
        """Whether the budget is met, if there is one."""
        return self.budget is None or self.ratio >= self.budget

    def __str__(self) -> str:
        budget = "–" if self.budget is None else f">= {self.budget:g}"
        times = f"{self.plain_s:.2f} s | {self.ours_s:.2f} s | {self.ratio:.2f}"
        return f"| {self.what} | {times} | {budget} |"


@dataclass(frozen=True, slots=True)
class Extras:
    """Measurements that take longer."""

    adaptive: bool
    compiled: bool


def plain_field(model: StableTTS, prior: Prior, guidance: float) -> Field:
    """Guided velocity with both conditions digested at every call."""
    batch, _, frames = prior.mu.shape
    content = model.fake_content.expand(batch, -1, frames)
    absent = Prior(content, prior.mask, model.fake_speaker.expand(batch, -1), prior.padded)
    network = model.decoder.estimator

    def velocity(t: Tensor, x: Tensor, given: Prior) -> Tensor:
        condition = network.condition(given.mu, given.padding)
        out: Tensor = network(t, x, condition, given.padding, given.c)
        return out

    def field(t: Tensor, x: Tensor) -> Tensor:
        with_text, without = velocity(t, x, prior), velocity(t, x, absent)
        return without + guidance * (with_text - without)

    return field


def fastest(repeats: int, *ways: Callable[[], object]) -> list[float]:
    """Seconds of the fastest run of each way, taken in turns."""
    best = [float("inf")] * len(ways)
    for _ in range(repeats):
        for index, way in enumerate(ways):
            started = time.perf_counter()
            way()
            best[index] = min(best[index], time.perf_counter() - started)
    return best


def planned(model: StableTTS, lengths: Sequence[int]) -> Prior:
    """Conditions for verses of these lengths in frames; what they say does not matter for time."""
    counts = torch.tensor(lengths)
    mask = length_mask(counts, int(counts.max()))
    mu = torch.randn(len(lengths), model.config.n_mels, 8)
    path = torch.zeros(len(lengths), mask.shape[2], dtype=torch.int64)
    c = torch.randn(len(lengths), model.config.gin_channels)
    return Prior(spread(mu, path, mask), mask, c, len(set(lengths)) > 1)


@torch.inference_mode()
def speaking(model: StableTTS, seconds: float, repeats: int, extras: Extras) -> Iterator[Row]:
    """One utterance of so many seconds: ten Euler steps, narrow numbers, the defaults."""
    prior = planned(model, [round(seconds * FRAMES_PER_S)])
    noise = torch.randn(prior.mu.shape)
    options = SamplingOptions()
    vocoder = Vocos(VocosConfig()).eval()

    def plain() -> Tensor:
        field = plain_field(model, prior, options.guidance)
        return integrate(field, noise, options.steps, Solver.EULER)

    def ours() -> Tensor:
        return model.render(prior, noise, options)

    def narrow() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return ours()

    if not torch.allclose(plain(), ours(), atol=1e-4):
        raise AssertionError("the two ways give different mels")
    plain_s, ours_s, narrow_s = fastest(repeats, plain, ours, narrow)
    yield Row("Euler-10 with guidance, float32", plain_s, ours_s)
    if has_native_bfloat16(torch.device("cpu")):
        yield Row("Euler-10 with guidance, bfloat16", plain_s, narrow_s)
    if extras.compiled:
        quick = copy.deepcopy(model)
        quick.decoder.estimator.compile()

        def compiled() -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return quick.render(prior, noise, options)

        compiled()
        plain_s, compiled_s = fastest(repeats, plain, compiled)
        yield Row("Euler-10 with guidance, bfloat16, compiled", plain_s, compiled_s, 2.0)
    if extras.adaptive:

        def original_defaults() -> Tensor:
            field = plain_field(model, prior, options.guidance)
            sound: Tensor = vocoder(integrate(field, noise, 10, Solver.DOPRI5))
            return sound

        slow_s, quick_s = fastest(1, original_defaults, lambda: vocoder(narrow()))
        yield Row("defaults end to end: Euler-10 for the adaptive solver", slow_s, quick_s, 5.0)


@torch.inference_mode()
def batching(model: StableTTS, seconds: float, repeats: int) -> Row:
    """Verses of like length together, against one by one."""
    lengths = [round(seconds * FRAMES_PER_S * (1 - 0.03 * i)) for i in range(VERSES)]
    prior = planned(model, lengths)
    noise = torch.randn(prior.mu.shape)
    options = SamplingOptions(steps=2)

    def one_by_one() -> None:
        for row, frames in enumerate(lengths):
            alone = Prior(
                prior.mu[row : row + 1, :, :frames],
                prior.mask[row : row + 1, :, :frames],
                prior.c[row : row + 1],
                padded=False,
            )
            model.render(alone, noise[row : row + 1, :, :frames], options)

    single_s, together_s = fastest(repeats, one_by_one, lambda: model.render(prior, noise, options))
    return Row(f"{VERSES} verses in one batch, against one by one", single_s, together_s, 0.9)


def training_step(model: StableTTS, seconds: float, repeats: int) -> Row:
    """Forward and backward of four clips, in bfloat16 against float32."""
    frames, symbols = round(seconds * FRAMES_PER_S), round(seconds * SYMBOLS_PER_S) * 2 + 1
    y = torch.randn(4, model.config.n_mels, frames) - 5
    batch = Batch(
        torch.randint(0, model.config.n_vocab, (4, symbols)),
        torch.full((4,), symbols),
        y,
        torch.full((4,), frames),
        y[:, :, : frames // 4],
        torch.full((4,), frames // 4),
    )
    draws = Draws.sample(y)

    def step(*, narrow: bool) -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            losses = model(batch, draws)
        losses.total.backward()

    wide_s, narrow_s = fastest(repeats, lambda: step(narrow=False), lambda: step(narrow=True))
    return Row("training step, bfloat16 against float32", wide_s, narrow_s, 1.4)


def measured(model: StableTTS, seconds: float, repeats: int, extras: Extras) -> Iterator[Row]:
    """All rows, as they are ready."""
    yield from speaking(model, seconds, repeats, extras)
    yield batching(model, seconds, repeats)
    if has_native_bfloat16(torch.device("cpu")):
        yield training_step(model, seconds, repeats)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=7.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--adaptive", action="store_true", help="takes minutes")
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler")
    arguments = parser.parse_args()
    extras = Extras(adaptive=arguments.adaptive, compiled=arguments.compile)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = StableTTS(replace(ModelConfig(), p_dropout=0.0)).eval()
    seconds, repeats = arguments.seconds, arguments.repeats
    print(f"| {seconds:g} s of speech | plain | ours | times as fast | budget |")
    print("|---|---|---|---|---|", flush=True)
    rows = []
    for row in measured(model, seconds, repeats, extras):
        print(row, flush=True)
        rows.append(row)
    return 0 if all(row.is_kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
