"""A batch as a program with the real small model, whose sections are seconds and not a quarter of an hour."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from support.batch_runs import TESTS

from batch.crew import ROOT, Tasks
from batch.loop import Batch
from batch.reporting.display import Display
from batch.settings import load_settings
from runner.signals import Signals
from runner.task import TaskSpec

SECTION_S = 3.0


def start(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """Begin; may be killed."""
    return subprocess.Popen(
        [sys.executable, "-m", "support.batch_long", *argv],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{TESTS}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _tasks() -> Tasks:
    engine = {"name": "faster-whisper", "model": "tiny", "precision": "auto", "threads": 1}
    listening = {"language": "en", "mode": "batched", "beam": 1}
    options = {
        "engine": engine,
        "listening": listening,
        "vocabulary": {"vocabulary": None, "replacements": None},
        "section_s": SECTION_S,
    }
    transcribe = TaskSpec("batch.stages.tasks:Transcribe", options, (ROOT,))
    return Tasks(TaskSpec("batch.stages.tasks:Decode", {}, (ROOT,)), transcribe)


def _program(argv: Sequence[str]) -> int:
    signals = Signals()
    with signals.installed():
        display = Display(sys.stdout, sys.stderr, is_json=True)
        return Batch(load_settings(argv), display, signals, _tasks()).run().exit_code


if __name__ == "__main__":
    sys.exit(_program(sys.argv[1:]))
