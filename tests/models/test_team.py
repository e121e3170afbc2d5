"""Two processes that train together learn what one learns that takes the same steps."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import team_member

from pipelines.errors import EmptyCorpus
from pipelines.progress import ignore_progress
from pipelines.training.loop import METRICS_CSV, best_so_far
from pipelines.training.together import run_together

TESTS = Path(__file__).parents[1]


def train_together(kind: str, home: Path, *arguments: str, restarts: int = 0) -> None:
    """Let torchrun start two processes of the training `kind`."""
    home.mkdir()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", "2", "--max-restarts", str(restarts)]
    script = str(TESTS / "support" / "team_member.py")
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, script, kind, str(home), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]


def assert_same_training(kind: str, home: Path, together: Path) -> None:
    """Compare what two processes left with what one learns in this process."""
    expected = load_file(team_member.TRAININGS[kind](home, ignore_progress))
    best = best_so_far(together / "run")
    assert best is not None
    found = load_file(next(path for path in best.iterdir() if path.name.endswith("safetensors")))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name].float(), value.float(), rtol=1e-3, atol=1e-4), name
    curves = [(run / "run" / METRICS_CSV).read_text().splitlines() for run in (home, together)]
    numbers = [[list(map(float, row.split(",")[:2])) for row in curve[1:]] for curve in curves]
    assert numbers[0] == [pytest.approx(row, rel=1e-3) for row in numbers[1]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_team_of_two_whose_member_is_killed_learns_like_one(tmp_path: Path) -> None:
    """Both are started again, they go on from the last state, and one of them writes."""
    train_together("tts", tmp_path / "two", "--dies", restarts=1)
    assert (tmp_path / "two" / "died").exists()
    assert_same_training("tts", tmp_path / "one", tmp_path / "two")


class Stopped(BaseException):
    """What a canceled job's heartbeat raises."""


class StopAtEpoch:
    """A progress that raises once, in its second epoch."""

    def __init__(self) -> None:
        self.was_raised = False
        self.messages: list[str] = []

    def __call__(
        self, message: str, *, epoch: int | None = None, fraction: float | None = None
    ) -> None:
        self.messages.append(message)
        if epoch == 1 and not self.was_raised:
            self.was_raised = True
            raise Stopped


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_team_is_heard_stopped_and_gone_on_with_like_one_process(tmp_path: Path) -> None:
    """For the recogniser as well: there is one way for both."""
    home, progress = tmp_path / "two", StopAtEpoch()
    home.mkdir()
    train = partial(team_member.train_recogniser, home)
    with pytest.raises(Stopped):
        run_together(2, train, progress)
    assert run_together(2, train, progress).is_file()
    assert "Training epoch 3 of 3" in progress.messages
    assert_same_training("asr", tmp_path / "one", home)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_error_in_a_team_is_the_error_of_one_process(tmp_path: Path) -> None:
    """In words for the user, and without trying again."""
    with pytest.raises(EmptyCorpus, match="none of the 0 recordings"):
        run_together(2, partial(team_member.train_voice, tmp_path, texts=()), ignore_progress)
