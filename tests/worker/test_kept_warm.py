"""A process that keeps its model for the next job: when it does, when it must not, and what stays apart."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.daemon import Daemon, await_true
from support.devserver import project
from support.job_world import PROJECT, JobWorld, job

from gitlab_jobs.children import Affinity
from gitlab_jobs.job import Job
from gitlab_jobs.kept_models import KeptModels
from gitlab_jobs.manifest import parse_manifest
from gitlab_jobs.store import ProjectRef

STEADY = ("--loop-interval", "0.05", "--watch-s", "0.1")


def keeper(job_id: str, name: str = "plain") -> Any:
    """A job whose handler keeps a model."""
    return job(job_id, "Keeper", name=name)


def facts(world: JobWorld, job_id: str, of: str = PROJECT) -> Any:
    """What a finished job tells of its process."""
    response = world.response(job_id, of=of)
    assert response["state"] == "completed", response
    return response["result"]


def log_of(world: JobWorld, job_id: str) -> str:
    """A job's log as its user sees it."""
    content = world.read(f"gpu_jobs/job_{job_id}/logs.txt")
    assert content is not None
    return content.decode()


def test_jobs_of_one_model_share_a_process_and_nothing_else(world: JobWorld) -> None:
    """The model stays; directory, temporary files and log are each job's own."""
    world.submit(keeper("k1", "shout"), keeper("k2"), keeper("k3"))
    log = world.run_to_end()
    found = [facts(world, name) for name in ("k1", "k2", "k3")]
    assert len({one["pid"] for one in found}) == 1
    assert found[2]["jobs"] == ["k1", "k2", "k3"]
    for one in found:
        assert one["folder"] == one["work_dir"]
        assert one["temporary"].startswith(one["work_dir"])
    assert len({one["work_dir"] for one in found}) == 3
    for name, others in (("k1", ("k2", "k3")), ("k2", ("k1", "k3")), ("k3", ("k1", "k2"))):
        assert f"this is job {name}" in log_of(world, name)
        assert not any(other in log_of(world, name) for other in others)
    assert "an unfinished line of k1" in log_of(world, "k1")
    assert log.count("goes on with its model") == 2
    assert not psutil.pid_exists(found[0]["pid"])


@pytest.mark.parametrize(
    ("arguments", "first"),
    [(("--keep-warm", "0"), "plain"), ((), "leave a child")],
    ids=["not wanted", "a child of its own is left"],
)
def test_a_process_that_may_not_stay_leaves(
    world: JobWorld, arguments: tuple[str, ...], first: str
) -> None:
    """The next job gets a fresh one, and its model is loaded anew."""
    world.submit(keeper("k1", first), keeper("k2"))
    world.run_to_end(*arguments)
    assert facts(world, "k1")["pid"] != facts(world, "k2")["pid"]
    assert facts(world, "k2")["jobs"] == ["k2"]


def test_a_crash_costs_the_model_and_the_job_but_no_other_one(world: JobWorld) -> None:
    """The third job finds a fresh process."""
    world.submit(keeper("k1"), keeper("k2", "crash"), keeper("k3"))
    world.run_to_end()
    assert world.response("k2")["error_code"] == "CHILD_CRASH"
    assert "this is job k2" in log_of(world, "k2")
    assert facts(world, "k1")["pid"] != facts(world, "k3")["pid"]
    assert facts(world, "k3")["jobs"] == ["k3"]


@pytest.fixture
def idle(world: JobWorld) -> Iterator[tuple[Daemon, int]]:
    """A daemon with an idle process that has kept a model."""
    world.submit(keeper("k1"))
    with world.run_worker(*STEADY) as daemon:
        daemon.await_log("job k1 ended: completed")
        pid = facts(world, "k1")["pid"]
        assert psutil.pid_exists(pid)
        yield daemon, pid


def test_a_canceled_job_takes_its_process_with_it(
    world: JobWorld, idle: tuple[Daemon, int]
) -> None:
    """Whatever state the model was in, nobody meets it again."""
    daemon, pid = idle
    world.submit(keeper("k1"), keeper("k2", "wait"))
    daemon.await_log("job k2: infer")
    world.submit(keeper("k1"), keeper("k2", "wait") | {"canceled": True}, keeper("k3"))
    daemon.await_log("job k3 ended: completed")
    assert world.state("k2") == "canceled"
    assert facts(world, "k3")["pid"] != pid
    assert not psutil.pid_exists(pid)


def test_a_process_that_dies_while_idle_costs_nobody_anything(
    world: JobWorld, idle: tuple[Daemon, int]
) -> None:
    """Killed from outside; the next job starts afresh."""
    daemon, pid = idle
    os.kill(pid, signal.SIGKILL)
    world.submit(keeper("k1"), keeper("k2"))
    daemon.await_log("job k2 ended: completed")
    assert facts(world, "k2")["pid"] != pid


def test_a_stop_ends_an_idle_process_too(world: JobWorld, idle: tuple[Daemon, int]) -> None:
    """Nothing stays behind."""
    daemon, pid = idle
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0, daemon.log
    assert not psutil.pid_exists(pid)


def test_an_idle_process_leaves_when_its_time_is_over(world: JobWorld) -> None:
    """Its memory is worth more than its model."""
    world.submit(keeper("k1"))
    with world.run_worker(*STEADY, "--keep-warm", "0.5") as daemon:
        daemon.await_log("job k1 ended: completed")
        pid = facts(world, "k1")["pid"]
        await_true(lambda: not psutil.pid_exists(pid), "the end of the idle process")
        assert daemon.process.poll() is None


def test_projects_share_the_operators_model(tmp_path: Path) -> None:
    """What one of them made stays with it, see `Affinity`."""
    both = [project(f"bible/{name}", files={"a": "b"}) for name in ("one", "two")]
    with JobWorld(tmp_path, *both) as world:
        world.submit(keeper("k1"), to="bible/one")
        world.submit(keeper("k2"), to="bible/two")
        world.run_to_end()
        first, second = facts(world, "k1", "bible/one"), facts(world, "k2", "bible/two")
    assert first["pid"] == second["pid"]


def test_who_may_follow_whom() -> None:
    """The same handler and model; a project's own model, or unknown wishes, bind to the project."""
    here, there = (ProjectRef(name, f"bible/{name}", "main") for name in ("here", "there"))

    def kind(
        where: ProjectRef, model: Any = "Whisper", mode: str = "inference", **more: Any
    ) -> Any:
        return Affinity.of(parsed(job("x", model, mode, **more)), where)

    own = {"type": "W2V2BERT", "base_checkpoint": "gpu_jobs/job_a/checkpoint/best_model.pt"}
    assert kind(here) == kind(there, "whisper") is not None
    assert kind(here) != kind(here, "W2V2BERT")
    assert kind(here, own) == kind(here, own)
    assert kind(here, own) != kind(there, own)
    assert kind(here, check_with="x") != kind(there, check_with="x")
    assert kind(here, own, "training", epochs=1) is None


def parsed(entry: Any) -> Job:
    """A manifest entry as a job."""
    import yaml

    (found,) = parse_manifest(yaml.safe_dump({"version": 1, "jobs": [entry]}).encode()).jobs
    return found


class Weights:
    """Counts how often it is loaded."""

    loads = 0

    def __init__(self, path: str, *, precision: str = "auto") -> None:
        Weights.loads += 1
        self.path = path


def test_a_model_is_loaded_again_only_if_something_about_it_is_another() -> None:
    """And what the job at hand has not asked for makes room for what it asks for."""
    kept = KeptModels()
    Weights.loads = 0
    first = kept.load_once(Weights, "a")
    vocoder = kept.load_once(Weights, "vocoder", precision="float32")
    kept.begin_job()
    assert kept.load_once(Weights, "a") is first
    assert kept.load_once(Weights, "vocoder", precision="float32") is vocoder
    assert Weights.loads == 2
    kept.begin_job()
    assert kept.load_once(Weights, "b") is not first
    assert kept.load_once(Weights, "a") is not first
    assert Weights.loads == 4


def test_a_loader_whose_result_its_arguments_do_not_tell_is_refused() -> None:
    """What it captures would be missing from the key."""
    kept = KeptModels()
    for load in (lambda: Weights("a"), Weights("a").__init__):
        with pytest.raises(TypeError, match="class, or a function of a module"):
            kept.load_once(load)
    assert not kept.has_any
