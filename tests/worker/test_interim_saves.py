"""What a long job leaves in its folder while it runs, and how another box goes on from it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from support.daemon import Daemon, await_true
from support.job_world import JobWorld, job

from devserver.lfs_store import LfsStore
from gitlab_jobs.lfs import Pointer, parse_pointer
from gitlab_jobs.yaml_text import dump_yaml

FOLDER = "gpu_jobs/job_t1"
RESUME = f"{FOLDER}/checkpoint/resume.tar"
CURVE = f"{FOLDER}/checkpoint/training_metrics.csv"
LOG = f"{FOLDER}/logs.txt"
OFTEN = ("--checkpoint-upload-s", "0.3", "--watch-s", "0.1", "--lease-s", "1", "--grace-s", "5")
SENDING = {"method": "PUT", "endpoint": "*/gitlab-lfs/objects/*"}


class Training:
    """A training of ten epochs that waits after the fourth until its gate opens."""

    def __init__(self, world: JobWorld, gate: Path) -> None:
        self.world = world
        self.gate = gate
        self.entry = job(
            "t1", "Steady", "training", epochs=10, wait_after=4, gate=str(gate), state_bytes=300_000
        )
        world.submit(self.entry)

    @contextmanager
    def saved_by(self, *arguments: str, name: str = "first") -> Iterator[Daemon]:
        """A worker in the middle of it, whose state of the fourth epoch is on the server."""
        with self.world.run_worker(*OFTEN, *arguments, name=name) as daemon:
            daemon.await_log("saved step-00000004 of job t1")
            yield daemon

    def finish(self, *arguments: str, name: str) -> str:
        """Let another worker take it over and end it."""
        self.gate.touch()
        often = (*OFTEN, "--loop-interval", "0.2", *arguments)
        with self.world.run_worker(*often, name=name) as daemon:
            daemon.await_log("job t1 ended: completed")
            daemon.process.terminate()
            assert daemon.wait() == 0, daemon.log
            return daemon.log

    def pointer(self) -> Pointer:
        """What the job's folder says of the saved state."""
        content = self.world.read(RESUME)
        found = parse_pointer(content) if content is not None else None
        assert found is not None
        return found


@pytest.fixture
def training(world: JobWorld, tmp_path: Path) -> Training:
    """Submitted, and nobody has it."""
    return Training(world, tmp_path / "gate")


def test_a_long_job_shows_its_log_curve_and_end_while_it_runs(training: Training) -> None:
    """The user sees them at the next sync; the state is no more than a pointer in their clone."""
    world = training.world
    with training.saved_by():
        await_true(lambda: world.response("t1")["epochs_completed"] == 4, "the next save")
        files = {name: content for name, content in world.files().items() if FOLDER in name}
        response = world.response("t1")
    assert {LOG, CURVE, RESUME} < files.keys()
    assert not [name for name, content in files.items() if name.endswith(".json") or not content]
    assert b"Still running at" in files[LOG]
    assert files[CURVE].decode().splitlines() == [
        "epoch,loss",
        "1,1",
        "2,0.5",
        "3,0.333333",
        "4,0.25",
    ]
    assert len(files[RESUME]) < 200
    assert (response["state"], response["epochs_completed"]) == ("running", 4)
    assert response["status_message"] == "Training epoch 4"
    assert response["expected_completion"]


def test_another_box_goes_on_where_the_first_one_was_killed(training: Training) -> None:
    """Its work directory is empty; the result is of ten epochs, and the state is gone with the end."""
    with training.saved_by() as first:
        first.kill()
    log = training.finish(name="second")
    response = training.world.response("t1")
    assert "goes on from the state that first saved" in log
    assert (response["state"], response["worker_id"], response["attempt"]) == (
        "completed",
        "second",
        2,
    )
    assert (response["result"]["began"], response["epochs_completed"]) == (4, 10)
    assert "expected_completion" not in response
    left = {name for name in training.world.files() if FOLDER in name}
    assert left == {f"{FOLDER}/response.yaml", LOG, CURVE}
    assert b"Going on from the state that worker first saved" in (training.world.read(LOG) or b"")
    assert len((training.world.read(CURVE) or b"").splitlines()) == 11


def test_a_worker_whose_disk_is_lost_goes_on_from_what_it_had_saved(training: Training) -> None:
    """The ledger survived, the job's directory did not."""
    with training.saved_by("--lease-s", "1800", name="only") as daemon:
        daemon.kill()
        for folder in daemon.work_dir.glob("job_t1_*"):
            folder.rename(folder.with_name("lost"))
    training.gate.touch()
    log = training.world.run_to_end(*OFTEN, name="only")
    assert "goes on from the state that only saved" in log
    assert training.world.response("t1")["result"]["began"] == 4
    assert training.world.response("t1")["attempt"] == 1


def test_a_state_that_is_damaged_on_the_server_costs_the_epochs_and_not_the_job(
    training: Training,
) -> None:
    """The log says why it began anew."""
    with training.saved_by() as first:
        first.kill()
    stored = LfsStore(training.world.server.root).path(training.pointer().oid)
    stored.chmod(0o600)
    stored.write_bytes(b"x" * stored.stat().st_size)
    training.finish(name="second")
    assert training.world.response("t1")["result"]["began"] == 0
    log = training.world.read(LOG) or b""
    assert b"starting from the beginning: its content is missing or damaged" in log


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"not a pointer", None])
def test_a_state_that_somebody_overwrote_or_removed_is_no_obstacle(
    training: Training, content: bytes | None
) -> None:
    """A person's sync can do either."""
    with training.saved_by() as first:
        first.kill()
    training.world.write(RESUME, content)
    training.finish(name="second")
    assert training.world.response("t1")["result"]["began"] == 0
    assert training.world.read(RESUME) is None


def test_nothing_of_a_save_lands_when_the_lease_is_stolen_while_it_is_sent(
    training: Training,
) -> None:
    """The bytes arrive, their pointer does not; the branch is as the thief left it."""
    world = training.world
    world.server.set_faults(action="pass", latency_s=6, **SENDING)
    with world.run_worker(*OFTEN, "--lease-s", "1800", "--watch-s", "600") as daemon:
        _await_sending(world)
        stolen = world.response("t1")
        taken = {**stolen, "worker_id": "thief", "claim": "f" * 32}
        lease = f"{FOLDER}/lease/{stolen['lease_n'] + 1}-{'f' * 32}.yaml"
        _commit(
            world, [("move", lease, stolen["lease"]), ("update", f"{FOLDER}/response.yaml", taken)]
        )
        before = world.history()
        daemon.await_log("nothing was saved of job t1")
        assert world.history() == before
    assert world.read(RESUME) is None
    assert world.response("t1")["worker_id"] == "thief"


def test_a_save_that_takes_long_holds_up_neither_the_lease_nor_the_training(
    training: Training,
) -> None:
    """The lease is renewed and the training ends while the state is still on its way."""
    world = training.world
    world.server.set_faults(action="pass", latency_s=600, **SENDING)
    with world.run_worker(*OFTEN, "--heartbeat-s", "0.2", "--lease-s", "1800") as daemon:
        _await_sending(world)
        number = world.response("t1")["lease_n"]
        await_true(lambda: world.response("t1")["lease_n"] > number + 1, "renewals meanwhile")
        training.gate.touch()
        await_true(lambda: world.state("t1") == "completed", "the end of the training")
        daemon.kill()
    assert "saved step" not in daemon.log
    assert world.response("t1")["epochs_completed"] == 10


def test_there_is_one_commit_an_interval_and_a_state_is_sent_once(training: Training) -> None:
    """Later saves of the same epoch bring the log up to date and nothing more."""
    world, started_s = training.world, time.monotonic()
    with training.saved_by("--checkpoint-upload-s", "0.5", "--lease-s", "1800") as daemon:
        sent = world.requests_by("PUT")
        await_true(lambda: len(_saves(world)) >= 4, "four saves")
        daemon.kill()
        took_s = time.monotonic() - started_s
        assert world.requests_by("PUT") == sent
    assert len(_saves(world)) <= took_s / 0.5
    assert all("[skip ci]" in subject for subject in _saves(world))


@pytest.mark.slow
def test_states_stay_within_the_room_they_may_take_up(training: Training) -> None:
    """Too large for it: the log and the curve are saved all the same."""
    world = training.world
    with world.run_worker(*OFTEN, "--checkpoint-upload-gb", "0.0001") as daemon:
        daemon.await_log("has sent all the states it may")
        await_true(lambda: world.read(CURVE) is not None, "the curve")
        assert world.read(RESUME) is None


@pytest.mark.slow
def test_a_failed_save_is_tried_again(training: Training) -> None:
    """The server takes no objects for a while; the job does not notice."""
    world = training.world
    world.server.set_faults(action="status", status=403, **SENDING, count=2)
    with training.saved_by() as daemon:
        assert "could not send the state of job t1, going on" in daemon.log
    assert training.pointer().size > 300_000


def test_a_canceled_training_leaves_no_state_behind(training: Training) -> None:
    """Its log and its curve stay."""
    with training.saved_by() as daemon:
        training.world.submit({**training.entry, "canceled": True})
        daemon.await_log("job t1 ended: canceled")
        daemon.wait()
    assert training.world.read(RESUME) is None
    assert training.world.read(CURVE) is not None


def test_a_stopped_worker_saves_the_newest_state_before_it_leaves(training: Training) -> None:
    """Another box need not wait for this one to come back."""
    world = training.world
    long = ("--checkpoint-upload-s", "600", "--lease-s", "1")
    with world.run_worker(*OFTEN, *long, name="first") as daemon:
        await_true(lambda: "Training epoch 4" in _status(daemon), "the fourth epoch")
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0, daemon.log
    assert "saved step-00000004 of job t1" in daemon.log
    training.finish(name="second")
    assert world.response("t1")["result"]["began"] == 4


def test_a_job_that_is_given_back_leaves_nothing_behind(world: JobWorld, tmp_path: Path) -> None:
    """Else the editor would show it as running, with nobody at work."""
    world.submit(job("t1", "Patient", "training", wait_in="download", gate=str(tmp_path / "never")))
    with world.run_worker(*OFTEN, "--lease-s", "1800") as daemon:
        await_true(lambda: world.read(LOG) is not None, "a log of the running job")
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0, daemon.log
    assert [name for name in world.files() if FOLDER in name] == []


@pytest.mark.slow
def test_nothing_is_saved_before_the_end_if_the_operator_wants_it_so(training: Training) -> None:
    """Zero means never."""
    with training.world.run_worker(*OFTEN, "--checkpoint-upload-s", "0") as daemon:
        await_true(lambda: "Training epoch 4" in _status(daemon), "the fourth epoch")
        time.sleep(0.5)
        training.gate.touch()
        daemon.wait()
    assert _saves(training.world) == []
    assert training.world.state("t1") == "completed"


def _status(daemon: Daemon) -> str:
    """The job's own log so far, and the daemon's."""
    logs = [path.read_text() for path in daemon.work_dir.glob("job_t1_*/logs.txt")]
    return "\n".join([daemon.log, *logs])


def _saves(world: JobWorld) -> list[str]:
    return [c.subject for c in world.by_worker() if c.subject.startswith("scriptorium: save job")]


def _await_sending(world: JobWorld) -> None:
    """Wait until the server has been asked to take a state in, and lets the worker wait."""
    await_true(lambda: any(rule["fired"] for rule in world.server.fault_rules()), "a transfer")


def _commit(world: JobWorld, actions: list[tuple[str, str, Any]]) -> None:
    """Commit as another worker would."""
    url = world.server.api("projects/bible%2Fdemo/repository/commits")
    body = [
        {"action": verb, "file_path": path, "previous_path": content}
        if verb == "move"
        else {"action": verb, "file_path": path, "content": dump_yaml(content).decode()}
        for verb, path, content in actions
    ]
    requests.post(
        url,
        json={"branch": "main", "commit_message": "take over", "actions": body},
        headers=world.server.headers("translator"),
        timeout=30,
    ).raise_for_status()
