"""The training of a voice whose worker is killed goes on, and ends with the same curve and the same voice."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from durability.training_world import (
    MOVING,
    OFTEN,
    Trained,
    checkpoints,
    published,
    training_world,
)
from support.daemon import await_true
from support.job_world import JobWorld
from support.manifests import entry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EPOCHS = 8
VOICE = "gpu_jobs/job_t1/checkpoint/best_model.pt"
TINY = {
    "SCRIPTORIUM_MODELS__STABLETTS__BASE": "tiny",
    "SCRIPTORIUM_MODELS__STABLETTS__DEVICE": "cpu",
}


def voice_world(directory: Path) -> JobWorld:
    """A project whose recordings are to become a voice."""
    world = training_world(directory)
    world.submit(entry(job_id="t1", mode="training", epochs=EPOCHS, save_interval=1))
    return world


def options(world: JobWorld) -> tuple[str, ...]:
    """A worker that looks often, with our own handlers and no test's."""
    handlers = world.directory / "no-handlers"
    handlers.mkdir(exist_ok=True)
    return (*OFTEN, "--handlers-dir", str(handlers))


@dataclass(frozen=True)
class Voice:
    """What an uninterrupted training made."""

    trained: Trained
    pointer: bytes | None


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    """The voice that the others must equal."""
    with voice_world(tmp_path_factory.mktemp("whole")) as world:
        world.run_to_end(*options(world), environment=TINY)
        return Voice(published(world), world.read(VOICE))


def assert_same(world: JobWorld, whole: Voice, what: str) -> None:
    """Curve, facts and pointer, bit for bit."""
    trained = published(world)
    assert trained.curve == whole.trained.curve, what
    assert trained.response["result"] == whole.trained.response["result"]
    assert world.read(VOICE) == whole.pointer


def test_a_killed_voice_goes_on_and_nobody_can_tell(tmp_path: Path, whole: Voice) -> None:
    """Killed at a random epoch through the whole stack."""
    seed = int.from_bytes(os.urandom(4))
    epoch = random.Random(seed).randint(1, EPOCHS - 3)
    with voice_world(tmp_path) as world:
        with world.run_worker(*options(world), environment=TINY) as daemon:
            await_true(lambda: checkpoints(daemon) >= epoch, f"epoch {epoch} (seed {seed})")
            daemon.kill()
        assert world.state("t1") == "running"
        log = world.run_to_end(*options(world), environment=TINY)
        assert "going on with job t1" in log
        assert_same(world, whole, f"seed {seed}")


def test_another_box_goes_on_with_a_voice(tmp_path: Path, whole: Voice) -> None:
    """It has nothing but what is on the server."""
    with voice_world(tmp_path) as world:
        often = (*options(world), *MOVING)
        with world.run_worker(*often, name="first", environment=TINY) as first:
            first.await_log("for other boxes")
            first.kill()
        with world.run_worker(*often, name="second", environment=TINY) as second:
            second.await_log("goes on from the state that first saved")
            second.await_log("job t1 ended: completed")
            second.kill()
        assert_same(world, whole, "moved")
