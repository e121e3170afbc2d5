"""What one training step or one utterance needs beyond the loaded model, measured in a process of its own.

    python -m benchmarks.tts_memory ORIGINAL original|ours training|training-bf16|speaking FRAMES

Called by bench_tts.py. Prints MiB.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from benchmarks.tts_original import Original, random_weights
from benchmarks.tts_ways import Speaking, Training


def _read(field: str) -> int:
    """A field of this process's status in KiB."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise KeyError(field)


def main() -> None:
    """Do it once and print what it took."""
    path, who, what, frames = sys.argv[1:]
    weights = random_weights()
    original = Original.at(Path(path))
    ways = {"training": Training, "training-bf16": Training, "speaking": Speaking}
    contest = ways[what](original, weights, int(frames))
    side = contest.original if who == "original" else contest.ours
    ctypes.CDLL(None).malloc_trim(0)  # what loading left free would serve one run and not another
    before = _read("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # forget the peak so far
    side(narrow=what.endswith("bf16"))
    print((_read("VmHWM") - before) / 1024)


if __name__ == "__main__":
    main()
