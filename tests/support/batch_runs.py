"""Runs batches for tests: in this process, or as a program of its own that can be killed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from batch.crew import ROOT, Tasks
from batch.loop import Batch, Ended
from batch.reporting.display import Display
from batch.settings import load_settings
from batch.stages.extras import Extra
from runner.signals import Signals
from runner.task import TaskSpec

TESTS = Path(__file__).parents[1]


@dataclass
class Place:
    """A folder of recordings, a folder for results, and a diary of what was transcribed."""

    home: Path
    events: list[dict] = field(default_factory=list)
    extras: tuple[Extra, ...] = ()
    """Optional stages after the others."""
    tasks: Tasks | None = None
    """Other stages than those that cost nothing."""

    def __post_init__(self) -> None:
        self.input.mkdir(parents=True, exist_ok=True)

    @property
    def input(self) -> Path:
        return self.home / "in"

    @property
    def output(self) -> Path:
        return self.home / "out"

    @property
    def state_path(self) -> Path:
        return self.input / "batch_state.json"

    def record(self, *names: str) -> None:
        """Put recordings there; each says its own name."""
        for name in names:
            path = self.input / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name, encoding="utf-8")

    def said(self) -> list[str]:
        """What was transcribed, in order, over all runs."""
        return [line.split(" ", 3)[3] for line in self.diary() if line.startswith("said")]

    def busy_share(self) -> float:
        """Of the time between the first word and the last, how much the model worked."""
        lines = [line for line in self.diary() if line.startswith("said")]
        spans = [tuple(map(float, line.split()[1:3])) for line in lines]
        busy = sum(end - begin for begin, end in spans)
        return busy / (max(end for _, end in spans) - min(begin for begin, _ in spans))

    def diary(self) -> list[str]:
        path = self.home / "diary"
        return path.read_text("utf-8").splitlines() if path.exists() else []

    def statuses(self) -> dict[str, str]:
        files = json.loads(self.state_path.read_text("utf-8"))["files"]
        return {name: fields["status"] for name, fields in files.items()}

    def argv(self, *flags: str) -> list[str]:
        """Workers that stay unless a test says otherwise; what is learned stays here, too."""
        stay = () if "--isolation" in flags else ("--isolation", "pool")
        return ["--input", str(self.input), *self._here, *stay, *flags]

    def argv_listed(self, listed: Path, *flags: str) -> list[str]:
        """For a list of assets, one file at a time."""
        return ["--assets", str(listed), *self._here, "--pack", "1", *flags]

    @property
    def _here(self) -> tuple[str, ...]:
        learned = str(self.home / "learned")
        return "--output", str(self.output), "--gpus", "none", "--cache-dir", learned

    def run(self, *flags: str, sleep_s: float = 0.0) -> Ended:
        """Run a batch in this process, with stages that cost nothing."""
        return self.run_argv(self.argv("--json", *flags), sleep_s)

    def run_argv(self, argv: Sequence[str], sleep_s: float = 0.0) -> Ended:
        shown = io.StringIO()
        display = Display(shown, io.StringIO(), is_json=True)
        signals = Signals()
        try:
            stages = self.tasks or tasks(self.home / "diary", sleep_s)
            chosen = replace(stages, extras=self.extras)
            return Batch(load_settings(argv), display, signals, chosen).run()
        finally:
            signals.close()
            self.events = [json.loads(line) for line in shown.getvalue().splitlines()]

    def start(
        self, *flags: str, sleep_s: float = 0.0, output: int | IO[bytes] = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        """Run the same as a program; its errors go where its output goes, unless that is a pipe."""
        argv = [str(self.home / "diary"), str(sleep_s), *self.argv("--json", *flags)]
        return subprocess.Popen(
            [sys.executable, str(Path(__file__)), *argv],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{TESTS}"},
            stdout=output,
            stderr=subprocess.PIPE if output == subprocess.PIPE else output,
        )


def tasks(diary: Path, sleep_s: float, *, is_light: bool = False) -> Tasks:
    """Stages that say instead of listening; light ones say in a thread, not in a child."""
    paths = (ROOT, TESTS)
    say = TaskSpec("support.batch_tasks:Say", {"diary": str(diary), "sleep_s": sleep_s}, paths)
    return Tasks(TaskSpec("support.batch_tasks:Look", {}, paths), say, is_command=is_light)


def real_decoder(chosen: Tasks, longest_s: float) -> Tasks:
    """The same with real decoding, of so much at most."""
    return replace(
        chosen, decode=TaskSpec("batch.stages.tasks:Decode", {"longest_s": longest_s}, (ROOT,))
    )


def program(argv: Sequence[str]) -> int:
    """`batch_entry.py` with other stages."""
    signals = Signals()
    with signals.installed():
        display = Display(sys.stdout, sys.stderr, is_json=True)
        chosen = tasks(Path(argv[0]), float(argv[1]))
        return Batch(load_settings(argv[2:]), display, signals, chosen).run().exit_code


if __name__ == "__main__":
    sys.exit(program(sys.argv[1:]))
