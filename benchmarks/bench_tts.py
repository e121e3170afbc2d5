"""What speaking and training cost, against the original StableTTS, in one run.

    python -m benchmarks.bench_tts CHECKOUT [--only training,speaking,…] [--seconds 7] [--rounds 3] [--cpu-time]

`CHECKOUT` is the original's code, no part of this project; `torchdiffeq`, `numba` and `torchaudio` (its Python files
suffice) have to be importable for it (PYTHONPATH). Ways alternate; a ratio is the median over neighbours in time, so
that other work on the machine hits both alike; on a very busy one, `--cpu-time --threads 1` counts what was computed
instead. Prints the README's rows as Markdown; exits 1 when a budget is missed. On CPUs only: what the GPU paths give
has not been measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from benchmarks.tts_original import TOKEN_FRAMES, Original
from benchmarks.tts_race import HEADER
from benchmarks.tts_rows import GROUPS, Bench
from pipelines.tts.stabletts.config import FRAMES_PER_S

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


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
    parser.add_argument("--only", default=",".join(GROUPS), help=f"some of {', '.join(GROUPS)}")
    parser.add_argument("--seconds", type=float, default=7.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="instead of the clock on the wall")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    bench = Bench(
        arguments.checkout,
        Original.at(arguments.checkout),
        round(arguments.seconds * FRAMES_PER_S / TOKEN_FRAMES) * TOKEN_FRAMES,
        arguments.rounds,
        time.process_time if arguments.cpu_time else time.perf_counter,
    )
    clock = "processor time" if arguments.cpu_time else "wall time"
    print(f"{machine()}; {arguments.seconds:g} s of speech; {clock}\n\n{HEADER}", flush=True)
    started = time.perf_counter()
    missed = False
    for name in arguments.only.split(","):
        for row in GROUPS[name](bench):
            print(row, flush=True)
            missed |= not row.is_kept
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
