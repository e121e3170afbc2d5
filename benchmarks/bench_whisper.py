"""What transcribing costs: our engine against the two it is made of, on the same recordings and weights.

    python -m benchmarks.bench_whisper [--rounds 3] [--only verses]     (`make bench-whisper`)

Whisper base on the CPU, the clips of `tests/data/speech`. Contestants take turns, each in a process of its own;
a ratio is the median over rounds of the ratio inside a round. `OMP_NUM_THREADS` holds for all. Then the whole program with
one to three workers, and names with and without a vocabulary. Exits 1 when a budget is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.runner_ways import ROOT, Row
from benchmarks.whisper_batches import batches
from benchmarks.whisper_errors import word_error_rate
from benchmarks.whisper_names import names
from benchmarks.whisper_weights import openai_model
from pipelines.audio.decode import decode
from pipelines.text.metrics import spoken_error_rates

SPEECH = ROOT / "tests" / "data" / "speech"
SHORTEST_S, LONGEST_S = 1.5, 10.0
"""What counts as the length of a verse."""
ORIGINAL_FILES = 3
"""The original is slow: it gets a few of the short files, and is compared by seconds of sound a second."""
RATE_HZ = 16_000


@dataclass(frozen=True)
class Clip:
    """A recording and what is said in it."""

    path: Path
    text: str
    seconds: float


@dataclass(frozen=True)
class Run:
    """What one process told."""

    took_s: float
    load_s: float
    texts: list[str]
    peak_mb: float


def clips() -> list[Clip]:
    """The English clips with one speaker."""
    entries = json.loads((SPEECH / "transcripts.json").read_text("utf-8"))
    return [
        Clip(SPEECH / entry["file"], entry["text"], entry["seconds"])
        for entry in entries
        if entry["text"] and entry["language"].startswith("en")
    ]


def joined(parts: Sequence[Clip], folder: Path) -> Clip:
    """One long recording: all clips with half a second between them."""
    pause = np.zeros(RATE_HZ // 2, np.float32)
    sound = np.concatenate([x for part in parts for x in (decode(part.path).samples, pause)])
    path = folder / "long.flac"
    soundfile.write(path, sound, RATE_HZ)
    return Clip(path, " ".join(part.text for part in parts), len(sound) / RATE_HZ)


def race(way: str, beam: int, over: Sequence[Clip]) -> Run:
    """Run one contestant."""
    command = [sys.executable, "-m", "benchmarks.whisper_ways", way, str(beam)]
    paths = [str(clip.path) for clip in over]
    done = subprocess.run([*command, *paths], check=True, stdout=subprocess.PIPE, cwd=ROOT)
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def rounds(
    ways: Sequence[str], over: Sequence[Clip], count: int, beam: int
) -> dict[str, list[Run]]:
    """Let contestants take turns."""
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    for number in range(count):
        for way in ways if number % 2 == 0 else reversed(ways):
            runs[way].append(race(way, beam, over))
    return runs


def ratio(slow: Sequence[Run], fast: Sequence[Run]) -> float:
    """How many times as fast, by the median of rounds."""
    return statistics.median(s.took_s / f.took_s for s, f in zip(slow, fast, strict=True))


def wer(over: Sequence[Clip], run: Run) -> float:
    """Word error rate over all clips in percent, numbers and spellings made equal as the original Whisper does."""
    return 100 * word_error_rate([clip.text for clip in over], run.texts)


def told(way: str, over: Sequence[Clip], runs: Sequence[Run]) -> Row:
    """A contestant's own figures."""
    speed = sum(clip.seconds for clip in over) / statistics.median(run.took_s for run in runs)
    peak_mb = max(run.peak_mb for run in runs)
    as_written = 100 * spoken_error_rates([clip.text for clip in over], runs[0].texts).wer
    errors = f"WER {wer(over, runs[0]):.1f} % (numbers as written {as_written:.1f} %)"
    kind = "verses" if len(over) > 1 else "long"
    return Row(
        f"{kind}: {way}", f"{speed:.1f} s of sound a second; {errors}; peak {peak_mb:.0f} MB"
    )


def worst_loss(over: Sequence[Clip], bare: Run, ours: Run) -> Row:
    """By how many points the worst clip's WER is above the bare loop's, and how many words that is."""
    losses = [
        (word_error_rate([clip.text], [mine]) - word_error_rate([clip.text], [theirs]), clip)
        for clip, theirs, mine in zip(over, bare.texts, ours.texts, strict=True)
    ]
    loss, clip = max(losses, key=lambda found: found[0])
    words = round(loss * len(clip.text.split()))
    return Row(
        "verses: worst loss of a file in WER, against the bare loop in its full window",
        f"{100 * loss:+.1f} points ({words} of {len(clip.text.split())} words of {clip.path.stem})",
        "≤ 5 points",
        100 * loss <= 5,
    )


def as_right(over: Sequence[Clip], ours: Run, original: Run) -> Row:
    """The promise about errors."""
    kind = "verses" if len(over) > 1 else "long"
    mine, theirs = wer(over, ours), wer(over, original)
    return Row(
        f"{kind}: WER of ours / of the original",
        f"{mine:.1f} / {theirs:.1f} %",
        "≤ the original's",
        mine <= theirs,
    )


def verses(count: int, beam: int) -> list[Row]:
    """Short files, where a window of 30 s is mostly empty."""
    short = [clip for clip in clips() if SHORTEST_S <= clip.seconds <= LONGEST_S]
    ways = ("bare", "ours", "ours without words")
    runs = rounds(ways, short, count, beam)
    few = sorted(short, key=lambda clip: clip.seconds)[:: max(1, len(short) // ORIGINAL_FILES)]
    few = few[:ORIGINAL_FILES]
    each = race("original, a process per file", beam, few)
    original = race("original", beam, short)
    gain = ratio(runs["bare"], runs["ours"])
    few_s, short_s = (sum(clip.seconds for clip in group) for group in (few, short))
    ours_s = statistics.median(run.took_s for run in runs["ours"])
    against_each = (each.took_s / few_s) / (ours_s / short_s)
    per_file = f"the original, a process per file ({len(few)} of {len(short)} files)"
    return [
        *(told(way, short, runs[way]) for way in ways),
        told("the original, loaded once", short, [original]),
        told(per_file, few, [each]),
        Row("verses: ours over the bare loop", f"{gain:.1f}×", "≥ 3×", gain >= 3),
        Row(
            "verses: ours over the original per file",
            f"{against_each:.0f}×",
            "≥ 15×",
            against_each >= 15,
        ),
        as_right(short, runs["ours"][0], original),
        worst_loss(short, runs["bare"][0], runs["ours"][0]),
    ]


def long_file(count: int, beam: int, folder: Path) -> list[Row]:
    """One long recording, where batching gains little."""
    over = [joined(clips(), folder)]
    ways = ("bare", "ours", "ours sequential")
    runs = rounds(ways, over, count, beam)
    original = race("original", beam, over)
    gain = ratio(runs["bare"], runs["ours"])
    memory = statistics.median(
        ours.peak_mb / bare.peak_mb for bare, ours in zip(runs["bare"], runs["ours"], strict=True)
    )
    return [
        *(told(way, over, runs[way]) for way in ways),
        told("the original", over, [original]),
        Row("long: ours over the bare loop", f"{100 * gain:.0f} %", "≥ 95 %", gain >= 0.95),
        as_right(over, runs["ours"][0], original),
        Row("long: peak memory, ours over the bare loop", f"{memory:.2f}", "≤ 1.1", memory <= 1.1),
    ]


def main(argv: Sequence[str]) -> int:
    """Print the table; 1 if a budget is missed."""
    parser = argparse.ArgumentParser(prog="bench_whisper", description="Measure transcribing.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--only", choices=("verses", "long", "names", "batches"))
    options = parser.parse_args(argv)
    openai_model()
    print("| Whisper base, CPU | measured | budget |\n|---|---|---|")
    is_kept = True
    with tempfile.TemporaryDirectory() as folder:
        parts: dict[str, Callable[[], list[Row]]] = {
            "verses": lambda: verses(options.rounds, options.beam),
            "long": lambda: long_file(options.rounds, options.beam, Path(folder)),
            "names": lambda: names(options.beam),
            "batches": lambda: batches(Path(folder), [clip.path for clip in clips()]),
        }
        for name, part in parts.items():
            for row in part() if options.only in (None, name) else ():
                mark = " (missed)" if row.is_kept is False else ""
                print(f"| {row.what} | {row.measured}{mark} | {row.budget} |", flush=True)
                is_kept = is_kept and row.is_kept is not False
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
