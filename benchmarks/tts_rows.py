"""What is compared: a group of rows of the table per function. Knows no command line.

The same random weights of the published size are in both, and what comes out is compared before it is timed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmarks import tts_original
from benchmarks.tts_original import TOKEN_FRAMES, Original, random_weights
from benchmarks.tts_race import Clock, Race, Row, Way, race
from benchmarks.tts_ways import CLIPS, VERSES, Speaking, Training, precision
from pipelines.compute import has_native_bfloat16
from pipelines.progress import ignore_progress
from pipelines.training.clips import Clip
from pipelines.tts.stabletts import align, vocabulary
from pipelines.tts.stabletts.acceleration import CPU_TOKENS, accelerate, choose_acceleration
from pipelines.tts.stabletts.blocks import length_mask
from pipelines.tts.stabletts.config import FRAMES_PER_S
from pipelines.tts.stabletts.dataset import Limits, prepare, speech_mel
from pipelines.tts.stabletts.flow import Prior, SamplingOptions
from pipelines.tts.stabletts.model import StableTTS

RECORDINGS = 32
SAME_MEL = 1e-4
SMOOTH = 0.1
"""Of the random velocity: a field in which adaptive steps are long, to their advantage."""
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Bench:
    """What all groups share."""

    path: Path
    original: Original
    frames: int
    rounds: int
    clock: Clock

    @property
    def seconds(self) -> float:
        """How long the utterance is."""
        return self.frames / FRAMES_PER_S

    def race(self, ways: Mapping[str, Way], rounds: int = 0) -> Race:
        """Let all run in turns."""
        return race(ways, rounds or self.rounds, self.clock)


def training(bench: Bench) -> Iterator[Row]:
    """A step on four clips, in either precision, and the search's share of it."""
    contest = Training(bench.original, random_weights(), bench.frames)
    scores, mask, sizes = _scores(bench, CLIPS)
    took = bench.race(
        {
            "theirs": contest.original,
            "ours": contest.ours,
            "theirs bf16": lambda: contest.original(narrow=True),
            "ours bf16": lambda: contest.ours(narrow=True),
            "their search": lambda: bench.original.search(scores, mask),
            "our search": lambda: align.search(scores, *sizes),
        }
    )
    both = "training step with AdamW, four clips,"
    yield took.row(f"{both} float32", "theirs", "ours", 1.05)
    yield took.row(f"{both} bfloat16 against float32", "theirs", "ours bf16", 1.4)
    yield took.row(f"{both} bfloat16 in both", "theirs bf16", "ours bf16")
    shares = [
        100 * took.median(f"{who} search") / took.median(step)
        for who, step in (("their", "theirs"), ("our", "ours"))
    ]
    yield Row("alignment search, share of a float32 step", *shares, shares[0] / shares[1], unit="%")


def search(bench: Bench) -> Iterator[Row]:
    """Which token each frame belongs to; both must agree on every one."""
    for clips in (1, CLIPS, 16):
        scores, mask, sizes = _scores(bench, clips)
        expected = bench.original.search(scores, mask).argmax(dim=2)
        if not torch.equal(expected, align.search(scores, *sizes)):
            raise AssertionError("the alignments differ")
        took = bench.race(
            {
                "theirs": lambda scores=scores, mask=mask: bench.original.search(scores, mask),
                "ours": lambda scores=scores, sizes=sizes: align.search(scores, *sizes),
            },
            rounds=10 * bench.rounds,
        )
        yield took.row(f"alignment search, {clips} clips", "theirs", "ours", 1.0)


def _scores(
    bench: Bench, clips: int
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    tokens = bench.frames // TOKEN_FRAMES
    scores = torch.randn(clips, bench.frames, tokens)
    sizes = torch.full((clips,), bench.frames), torch.full((clips,), tokens)
    return scores, torch.ones_like(scores), sizes


def preprocessing(bench: Bench) -> Iterator[Row]:
    """Recordings of 48 kHz to mels, one and many; ours also trims, levels, checks and remembers them."""
    theirs = bench.original.preprocessor()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        recordings = [_recording(home / f"{i}.flac", bench.seconds, i) for i in range(RECORDINGS)]
        ways = {"theirs": lambda: theirs(recordings[0]), "ours": lambda: speech_mel(recordings[0])}
        took = bench.race(ways, rounds=5 * bench.rounds)
        yield took.row("preprocessing of a FLAC of 48 kHz", "theirs", "ours", 1.0)
        # Spawned and warm, two at a time, which is what its program starts.
        with get_context("spawn").Pool(2) as pool:
            jobs = [(bench.path, path, path.with_suffix(".pt")) for path in recordings]
            ways = {
                "theirs": lambda: pool.map(tts_original.preprocess, jobs, chunksize=1),
                "ours": lambda: _prepare(recordings, home),
            }
            # Other processes' time is on the wall only; the first round starts them.
            took = race(ways, bench.rounds + 1)
        what = f"the same for {RECORDINGS} recordings on all cores, wall time"
        yield took.row(what, "theirs", "ours")


def _recording(path: Path, seconds: float, seed: int) -> Path:
    noise = np.random.default_rng(seed).normal(0, 0.05, round(48_000 * seconds))
    soundfile.write(path, noise, 48_000)
    return path


def _prepare(recordings: list[Path], home: Path) -> None:
    clips = [Clip(path.stem, path, "abba") for path in recordings]
    with tempfile.TemporaryDirectory(dir=home) as cache:
        prepare(clips, vocabulary.build(["abba"]), Limits(), Path(cache), ignore_progress)


def memory(bench: Bench) -> Iterator[Row]:
    """Peaks above the loaded model, each in a process of its own."""
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


def speaking(bench: Bench) -> Iterator[Row]:
    """One utterance in ten Euler steps with guidance, to a mel and to sound."""
    contest = Speaking(bench.original, random_weights(), bench.frames)
    largest = float((contest.original() - contest.ours()).abs().max())
    if largest > SAME_MEL:
        raise AssertionError(f"the mels differ by {largest}")
    took = bench.race(
        {
            "theirs": contest.original,
            "ours": contest.ours,
            "theirs bf16": lambda: contest.original(narrow=True),
            "ours bf16": lambda: contest.ours(narrow=True),
        }
    )
    what = "Euler-10 with guidance,"
    yield took.row(f"{what} equal mels, float32", "theirs", "ours", 1.15)
    yield took.row(f"{what} bfloat16 against float32", "theirs", "ours bf16", 2.0)
    yield took.row(f"{what} bfloat16 in both", "theirs bf16", "ours bf16")
    yield from _real_time(bench, contest)


def _real_time(bench: Bench, contest: Speaking) -> Iterator[Row]:
    """How long a second of sound takes in ten Euler steps with Vocos, each at its usual precision."""
    narrow = has_native_bfloat16(CPU)
    short = Speaking(bench.original, random_weights(), bench.frames // 2)
    took = bench.race(
        {
            "theirs": lambda: contest.original_sound("euler"),
            "ours": lambda: contest.our_sound(narrow=narrow),
            "their verses": short.original_verses,
            "our verses": lambda: short.our_verses(narrow=narrow),
        }
    )
    what = "real-time factor of Euler-10 and Vocos, our precision,"
    yield _per_second(took.row(f"{what} one verse", "theirs", "ours"), bench.seconds)
    row = took.row(f"{what} {VERSES} ragged verses in our batch", "their verses", "our verses")
    yield _per_second(row, short.verses_s)


def compiled(bench: Bench) -> Iterator[Row]:
    """The same with the network compiled, which takes a while; nothing where there is no compiler."""
    if not shutil.which("g++"):
        return
    contest = Speaking(bench.original, random_weights(), bench.frames)
    how = choose_acceleration(CPU, compiled=True)
    contest.ready[True] = accelerate(contest.model, how, torch.bfloat16)
    contest.ours(narrow=True)  # the first one compiles
    took = bench.race({"theirs": contest.original, "ours": lambda: contest.ours(narrow=True)})
    what = "Euler-10 with guidance, bfloat16 and compiled against float32"
    yield took.row(what, "theirs", "ours", 2.0)


def adaptive(bench: Bench) -> Iterator[Row]:
    """What users get by default, to sound, in a field that lets the original's solver take long steps."""
    yield _defaults(bench, "a smooth", SMOOTH)


def rough(bench: Bench) -> Iterator[Row]:
    """The same with the random weights as they are; takes the original minutes."""
    yield _defaults(bench, "a rough", 1.0)


def _defaults(bench: Bench, kind: str, roughness: float) -> Row:
    narrow = has_native_bfloat16(CPU)
    contest = Speaking(bench.original, random_weights(roughness), bench.frames)
    contest.our_sound(narrow=narrow)
    # Theirs is slow enough for one lap to tell.
    ways = {"theirs": contest.original_sound, "ours": lambda: contest.our_sound(narrow=narrow)}
    took = race(ways, 1, bench.clock)
    what = f"defaults end to end with Vocos, {kind} field ({contest.calls} calls against 20)"
    return took.row(what, "theirs", "ours", 5.0)


@torch.inference_mode()
def batching(bench: Bench) -> Iterator[Row]:
    """As many verses of like length as a CPU is given at once, against the same one by one, both ours."""
    wide, _ = random_weights()
    count = max(2, CPU_TOKENS * TOKEN_FRAMES // bench.frames)
    lengths = torch.tensor([round(bench.frames * (1 - 0.03 * i)) for i in range(count)])
    mask = length_mask(lengths, int(lengths.max()))
    prior = Prior(
        torch.randn(count, wide.config.n_mels, mask.shape[2]) * mask,
        mask,
        torch.randn(count, wide.config.gin_channels),
        padded=True,
    )
    noise = torch.randn(prior.mu.shape)
    for narrow, word in ((False, "float32"), (True, "bfloat16")):
        dtype = torch.bfloat16 if narrow else torch.float32
        model = accelerate(wide, choose_acceleration(CPU, compiled=False), dtype)
        with precision(narrow=narrow):
            together, alone = _verses(model, prior, lengths, noise)
            if not narrow:
                largest = float((together() - alone()).abs().max())
                if largest > SAME_MEL:
                    raise AssertionError(f"a batch differs from its verses by {largest}")
            took = bench.race({"alone": alone, "together": together})
        what = f"{count} ragged verses in one batch against ours one by one, {word}"
        yield took.row(what, "alone", "together", 0.9)


def _verses(
    model: StableTTS, prior: Prior, lengths: torch.Tensor, noise: torch.Tensor
) -> tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor]]:
    """The same verses in one batch, and one by one; both return `(b, m, t)`."""
    options = SamplingOptions(steps=2)

    def alone() -> torch.Tensor:
        out = torch.zeros_like(noise)
        for row, frames in enumerate(lengths.tolist()):
            one = Prior(
                prior.mu[row : row + 1, :, :frames],
                prior.mask[row : row + 1, :, :frames],
                prior.c[row : row + 1],
                padded=False,
            )
            mel = model.render(one, noise[row : row + 1, :, :frames], options)
            out[row, :, :frames] = mel[0]
        return out

    return lambda: model.render(prior, noise, options), alone


def _per_second(row: Row, seconds: float) -> Row:
    """Say how much computing a second of sound takes."""
    return Row(row.what, row.theirs / seconds, row.ours / seconds, row.ratio, row.budget, "×")


GROUPS: Mapping[str, Callable[[Bench], Iterator[Row]]] = {
    group.__name__: group
    for group in (
        training,
        search,
        preprocessing,
        memory,
        speaking,
        batching,
        compiled,
        adaptive,
        rough,
    )
}
