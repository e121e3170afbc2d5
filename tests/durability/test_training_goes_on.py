"""A training job whose worker dies goes on from its checkpoint, and nobody can tell from the result."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from durability.training_world import (
    EPOCHS,
    MOVING,
    OFTEN,
    TINY,
    Trained,
    checkpoints,
    published,
    train_undisturbed,
    training_world,
)
from support.codex_builders import PATH
from support.daemon import await_true
from support.job_world import JobWorld
from support.speech import spoken_clips

TEXT = spoken_clips(longest_s=4.0)[0].text
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The training that the others must equal."""
    return train_undisturbed(tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[JobWorld]:
    """The same project and job, for a worker that will be killed."""
    with training_world(tmp_path) as world:
        yield world


def test_a_killed_training_goes_on_and_ends_with_the_same_curve(
    world: JobWorld, uninterrupted: Trained
) -> None:
    """Killed at a random epoch, started again: same workspace, same numbers, bit for bit."""
    seed = int.from_bytes(os.urandom(4))
    epoch = random.Random(seed).randint(1, EPOCHS - 4)
    with world.run_worker(*OFTEN, environment=TINY) as daemon:
        await_true(lambda: checkpoints(daemon) >= epoch, f"epoch {epoch} (seed {seed})")
        daemon.kill()
        reached = checkpoints(daemon)
    assert reached < EPOCHS, f"seed {seed}"
    assert world.state("t1") == "running"
    log = world.run_to_end(*OFTEN, environment=TINY)
    assert "going on with job t1" in log
    assert len(list((world.directory / "worker").glob("job_t1_*"))) == 1
    trained = published(world)
    assert trained.curve == uninterrupted.curve, f"seed {seed}"
    assert trained.response["epochs_completed"] == EPOCHS
    assert trained.response["attempt"] == 1
    assert trained.response["result"] == uninterrupted.response["result"]


def test_another_box_goes_on_and_ends_with_the_same_curve(
    world: JobWorld, uninterrupted: Trained
) -> None:
    """The first one is gone for good; the second has what is on the server, whatever people do there."""
    with world.run_worker(*OFTEN, *MOVING, name="first", environment=TINY) as first:
        first.await_log("for other boxes")
        first.kill()
    # A person corrects a verse that was learned from: that is for the next training.
    world.write(PATH, (world.read(PATH) or b"").replace(TEXT.encode(), b"corrected meanwhile"))
    with world.run_worker(*OFTEN, *MOVING, name="second", environment=TINY) as second:
        second.await_log("goes on from the state that first saved")
        second.await_log("job t1 ended: completed")
        assert checkpoints(second) == EPOCHS
        second.kill()
    trained = published(world)
    assert trained.curve == uninterrupted.curve
    assert (trained.response["worker_id"], trained.response["attempt"]) == ("second", 2)
    assert trained.response["result"] == uninterrupted.response["result"]
