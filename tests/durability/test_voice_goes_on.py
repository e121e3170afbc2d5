"""The training of a voice whose worker is killed goes on, and ends with the same curve and the same voice."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from durability.training_world import CURVE, OFTEN, checkpoints, published, training_world
from support.daemon import await_true
from support.job_world import JobWorld
from support.manifests import entry

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


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_voice_goes_on_and_nobody_can_tell(tmp_path: Path) -> None:
    """Killed at a random epoch through the whole stack: curve and pointer of the voice, bit for bit."""
    with voice_world(tmp_path / "whole") as world:
        world.run_to_end(*options(world), environment=TINY)
        expected, voice = published(world), world.read(VOICE)
    seed = int.from_bytes(os.urandom(4))
    epoch = random.Random(seed).randint(1, EPOCHS - 3)
    with voice_world(tmp_path / "killed") as world:
        with world.run_worker(*options(world), environment=TINY) as daemon:
            await_true(lambda: checkpoints(daemon) >= epoch, f"epoch {epoch} (seed {seed})")
            daemon.kill()
        assert world.state("t1") == "running"
        assert world.read(CURVE) != expected.curve
        log = world.run_to_end(*options(world), environment=TINY)
        assert "going on with job t1" in log
        trained = published(world)
        assert trained.curve == expected.curve, f"seed {seed}"
        assert trained.response["result"] == expected.response["result"]
        assert world.read(VOICE) == voice
