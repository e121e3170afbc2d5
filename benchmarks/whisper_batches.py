"""The whole batch program over some recordings: workers, and what giving memory back costs.

    warm    the model stays loaded (--isolation pool)
    stage   one kind of process at a time, each for all files (--isolation stage)
    cold    a fresh process with a fresh model for every file (--isolation file)
    auto    the first pack like cold, then warm, since it fits; the second time warm at once (no flag)

Whole runs, from the command to its exit code; memory is that of all its processes together.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.runner_ways import ROOT, Row
from benchmarks.whisper_weights import ctranslate2_model

LOOK_EVERY_S = 0.5
RUNS = {
    "warm, 1 worker": ("-t", "1", "--isolation", "pool"),
    "warm, 2 workers": ("-t", "2", "--isolation", "pool", "--pack", "4"),
    "warm, 3 workers": ("-t", "3", "--isolation", "pool", "--pack", "4"),
    "auto, 1 worker, never measured": ("-t", "1", "--pack", "4"),
    "auto, 1 worker, measured before": ("-t", "1", "--pack", "4"),
    "stage isolation, 1 worker": ("-t", "1", "--isolation", "stage"),
    "cold, a process per file": ("-t", "1", "--isolation", "file", "--pack", "1"),
}


def batches(folder: Path, recordings: Sequence[Path]) -> list[Row]:
    """A row for each way to run."""
    inputs = folder / "in"
    inputs.mkdir()
    for path in recordings:
        (inputs / path.name).symlink_to(path)
    return [_row(name, flags, inputs, folder) for name, flags in RUNS.items()]


def _row(name: str, flags: Sequence[str], inputs: Path, folder: Path) -> Row:
    command = [
        sys.executable, "batch_entry.py", "--input", str(inputs), "--output", str(folder / name),
        "--state", str(folder / f"{name}.json"), "-m", str(ctranslate2_model()), "--gpus", "none",
        "--language", "en", "--follow-links", "--json", "--cache-dir", str(folder / "learned"), *flags,
    ]  # fmt: skip
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
    peaks = [0.0]
    is_over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks, is_over))
    watcher.start()
    said, _ = process.communicate()
    took_s = time.perf_counter() - begun
    is_over.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{name}: exit code {process.returncode}")
    events = [json.loads(line) for line in said.splitlines()]
    crew = next(event["crew"] for event in events if event["event"] == "crew")
    speed = events[-1]["audio_s"] / took_s
    place = crew.rpartition(": ")[2]
    return Row(
        f"batch_entry.py, {name}",
        f"{speed:.1f} s of sound a second ({place}); peak {peaks[0]:.0f} MB",
    )


def _watch(pid: int, peaks: list[float], is_over: threading.Event) -> None:
    """Note the largest sum of memory, shared pages divided among those who share them."""
    while not is_over.wait(LOOK_EVERY_S):
        try:
            top = psutil.Process(pid)
            family = [top, *top.children(recursive=True)]
            total = sum(_memory_mb(member) for member in family)
        except psutil.Error:
            continue
        peaks[0] = max(peaks[0], total)


def _memory_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 2**20
    except psutil.Error:
        return 0.0
