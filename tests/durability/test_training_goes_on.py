"""A training job whose worker dies goes on from its checkpoint, and nobody can tell from the result."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.codex_builders import PATH, as_bytes, document, recorded, take
from support.daemon import Daemon, await_true
from support.devserver import project
from support.job_world import PROJECT, TRACKED, JobWorld, job
from support.speech import spoken_clips

EPOCHS = 12
CURVE = "gpu_jobs/job_t1/checkpoint/training_metrics.csv"
TINY = {
    "SCRIPTORIUM_MODELS__W2V2BERT__BASE": "tiny",
    "SCRIPTORIUM_MODELS__W2V2BERT__DEVICE": "cpu",
}
OFTEN = ("--watch-s", "0.2", "--heartbeat-s", "1")


@dataclass(frozen=True)
class Trained:
    """What a training published."""

    curve: bytes
    response: dict[str, Any]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The training that the other must equal."""
    with _world(tmp_path_factory.mktemp("uninterrupted")) as world:
        world.run_to_end(*OFTEN, environment=TINY)
        return _published(world)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[JobWorld]:
    """The same project and job, for a worker that will be killed."""
    with _world(tmp_path) as world:
        yield world


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_with_the_same_curve(
    world: JobWorld, uninterrupted: Trained
) -> None:
    """Killed at a random epoch, started again: same workspace, same numbers, bit for bit."""
    seed = int.from_bytes(os.urandom(4))
    epoch = random.Random(seed).randint(1, EPOCHS - 4)
    with world.run_worker(*OFTEN, environment=TINY) as daemon:
        await_true(lambda: _checkpoints(daemon) >= epoch, f"epoch {epoch} (seed {seed})")
        daemon.kill()
        reached = _checkpoints(daemon)
    assert reached < EPOCHS, f"seed {seed}"
    assert world.state("t1") == "running"
    log = world.run_to_end(*OFTEN, environment=TINY)
    assert "going on with job t1" in log
    assert len(list((world.directory / "worker").glob("job_t1_*"))) == 1
    published = _published(world)
    assert published.curve == uninterrupted.curve, f"seed {seed}"
    assert published.response["epochs_completed"] == EPOCHS
    assert published.response["attempt"] == 1
    assert published.response["result"] == uninterrupted.response["result"]


def _world(directory: Path) -> JobWorld:
    clips = spoken_clips(longest_s=4.0)
    files: dict[str, Any] = {
        "metadata.json": "{}",
        ".gitattributes": TRACKED + TRACKED.replace("webm", "flac"),
        PATH: as_bytes(
            document(
                *(
                    recorded(str(number), clip.text, attachments=_take(number))
                    for number, clip in enumerate(clips, start=1)
                )
            )
        ),
    }
    for number, clip in enumerate(clips, start=1):
        files[f".project/attachments/pointers/MAT/audio-{number}.flac"] = clip.path.read_bytes()
    world = JobWorld(directory, project(PROJECT, files=files))
    world.submit(job("t1", "W2V2BERT", "training", epochs=EPOCHS, save_interval=1))
    return world


def _take(number: int) -> dict[str, Any]:
    name = f"audio-{number}"
    return take(name, url=f".project/attachments/files/MAT/{name}.flac")


def _checkpoints(daemon: Daemon) -> int:
    """How many epochs the newest whole checkpoint on the worker's disk stands for."""
    newest = max((path.name for path in _steps(daemon)), default="step-0")
    return int(newest.removeprefix("step-"))


def _steps(daemon: Daemon) -> list[Path]:
    return [
        path
        for path in daemon.work_dir.glob("job_t1_*/work/training/step-*")
        if path.name.removeprefix("step-").isdigit()
    ]


def _published(world: JobWorld) -> Trained:
    curve = world.read(CURVE)
    response = world.response("t1")
    assert response["state"] == "completed", response
    assert curve is not None
    return Trained(curve, response)
