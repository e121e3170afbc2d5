"""A real training of a tiny recogniser on real speech, whose workers are killed at random moments.

expected = train_undisturbed(tmp_path / "one")
life = train_with_kills(seed, tmp_path / "two", kills=2)
assert life.trained.curve == expected.curve, f"seed {seed}"

A killed worker is started again on its work directory, or another one with an empty directory takes over
once the lease is stale and goes on from the state that was saved on the server.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.codex_builders import PATH, as_bytes, document, recorded, take
from support.daemon import Daemon, await_true
from support.devserver import project
from support.job_world import PROJECT, TRACKED, JobWorld, job
from support.speech import spoken_clips

EPOCHS = 10
CURVE = "gpu_jobs/job_t1/checkpoint/training_metrics.csv"
TINY = {
    "SCRIPTORIUM_MODELS__W2V2BERT__BASE": "tiny",
    "SCRIPTORIUM_MODELS__W2V2BERT__DEVICE": "cpu",
}
OFTEN = ("--watch-s", "0.2", "--heartbeat-s", "0.5", "--checkpoint-upload-s", "0.3")
MOVING = ("--lease-s", "2", "--loop-interval", "0.2", "--max-attempts", "100")
LONGEST_PAUSE_S = 0.5
END = "job t1 ended"


@dataclass(frozen=True)
class Trained:
    """What a training published."""

    curve: bytes
    response: dict[str, Any]


@dataclass
class TrainingLife:
    """A training and what happened to it.

    `moves` are the kills after which another box went on, `reached` the epochs completed at each kill.
    """

    seed: int
    trained: Trained
    kills: int = 0
    moves: int = 0
    reached: list[int] = field(default_factory=list)


def train_undisturbed(directory: Path) -> Trained:
    """The training that all others must equal."""
    with training_world(directory) as world:
        world.run_to_end(*OFTEN, environment=TINY)
        return published(world)


def train_with_kills(seed: int, directory: Path, *, kills: int, moves: float = 0.5) -> TrainingLife:
    """Train to the end through so many kills; a share `moves` of them is followed by another box."""
    chance, box, done, moved = random.Random(seed), 0, 0, 0
    reached: list[int] = []
    with training_world(directory) as world:
        for turn in range(kills):
            with world.run_worker(*OFTEN, *MOVING, name=f"box-{box}", environment=TINY) as daemon:
                until = chance.randint(1, EPOCHS - 1 - kills + turn)
                await_true(
                    lambda at=daemon, until=until: checkpoints(at) >= until or END in at.log,
                    f"epoch {until}",
                )
                moves_on = chance.random() < moves
                if moves_on:
                    daemon.await_log("for other boxes")
                time.sleep(chance.uniform(0, LONGEST_PAUSE_S))
                daemon.kill()
                if END in daemon.log:
                    break
                done, moved = done + 1, moved + moves_on
                reached.append(checkpoints(daemon))
            box += moves_on
        with world.run_worker(*OFTEN, *MOVING, name=f"box-{box}", environment=TINY) as daemon:
            await_true(lambda: world.state("t1") == "completed", "the end of the training", 300)
            daemon.kill()
        return TrainingLife(seed, published(world), done, moved, reached)


def training_world(directory: Path) -> JobWorld:
    """A project with recorded verses, and a job that learns from them."""
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
    directory.mkdir(parents=True, exist_ok=True)
    world = JobWorld(directory, project(PROJECT, files=files))
    world.submit(job("t1", "W2V2BERT", "training", epochs=EPOCHS, save_interval=1))
    return world


def checkpoints(daemon: Daemon) -> int:
    """How many epochs the newest whole checkpoint on the worker's disk stands for."""
    found = daemon.work_dir.glob("job_t1_*/work/training/step-*")
    steps = [path.name.removeprefix("step-") for path in found]
    return max((int(step) for step in steps if step.isdigit()), default=0)


def published(world: JobWorld) -> Trained:
    """What the finished training left on the branch."""
    curve = world.read(CURVE)
    response = world.response("t1")
    assert response["state"] == "completed", response
    assert curve is not None
    return Trained(curve, response)


def _take(number: int) -> dict[str, Any]:
    name = f"audio-{number}"
    return take(name, url=f".project/attachments/files/MAT/{name}.flac")
