"""What an operator and systemd say to the daemon, and what they hear."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from support.daemon import Daemon, NotifySocket, await_true
from support.job_world import JobWorld, job, training

STEADY = ("--loop-interval", "0.05", "--watch-s", "0.1")


@contextmanager
def busy(world: JobWorld, entry: object, *arguments: str) -> Iterator[tuple[Daemon, list[int]]]:
    """A daemon in the middle of a job, and the processes of that job."""
    world.submit(entry)
    with world.run_worker(*STEADY, *arguments) as daemon:
        daemon.await_log("job a1: ")
        yield daemon, [child.pid for child in psutil.Process(daemon.process.pid).children(True)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_idle_ends_it_at_once(world: JobWorld, number: signal.Signals) -> None:
    """Also in the middle of a long wait."""
    with world.run_worker("--loop-interval", "600") as daemon:
        daemon.await_log("is ready")
        daemon.send(number)
        assert daemon.wait() == 0
    assert "Traceback" not in daemon.log


def test_a_stop_while_a_job_runs_gives_the_job_back(world: JobWorld) -> None:
    """It is pending again with nothing left behind, its processes are gone, the exit code is 0."""
    with busy(world, training("a1", epochs=1, wait_in="download")) as (daemon, children):
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0, daemon.log
        assert children
        assert not any(psutil.pid_exists(pid) for pid in children)
    assert [path for path in world.files() if "job_a1" in path] == []
    world.submit(training("a1", epochs=1))
    world.run_to_end(name="next")
    assert world.response("a1")["worker_id"] == "next"
    assert world.state("a1") == "completed"


def test_a_second_stop_does_not_wait_for_a_job_that_does_not_listen(world: JobWorld) -> None:
    """The exit code tells that it was asked twice; the job is pending again all the same."""
    with busy(world, job("a1", "Stubborn"), "--grace-s", "600") as (daemon, children):
        daemon.send(signal.SIGTERM)
        daemon.await_log("stopping job a1")
        assert daemon.process.poll() is None
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 128 + signal.SIGTERM, daemon.log
        assert not any(psutil.pid_exists(pid) for pid in children)
    assert world.state("a1") is None


def test_a_drain_finishes_what_runs_and_starts_nothing_new(world: JobWorld, tmp_path: Path) -> None:
    """The running job completes, the waiting one stays pending."""
    gate = tmp_path / "gate"
    with busy(world, training("a1", wait_in="train", gate=str(gate))) as (daemon, _):
        entries = [training("a1", wait_in="train", gate=str(gate)), job("waiting")]
        world.submit(*entries)
        daemon.send(signal.SIGQUIT)
        gate.touch()
        assert daemon.wait() == 0, daemon.log
    assert world.state("a1") == "completed"
    assert world.state("waiting") is None


def test_a_killed_daemon_takes_its_jobs_processes_with_it(world: JobWorld) -> None:
    """Nobody is left to keep the lease, so nobody may work on."""
    with busy(world, job("a1", "Stubborn")) as (daemon, children):
        daemon.kill()
        await_true(lambda: not any(map(psutil.pid_exists, children)), "the end of the children")
        assert children


def test_systemd_hears_of_the_whole_life(world: JobWorld, tmp_path: Path) -> None:
    """Ready after the first look, alive with a status, stopping before the job has stopped."""
    with NotifySocket(tmp_path) as systemd:
        variables = {"NOTIFY_SOCKET": str(systemd.path)}
        with world.run_worker(*STEADY, environment=variables) as daemon:
            systemd.await_line("STATUS=idle")
            world.submit(training("a1", wait_in="download"))
            systemd.await_line("STATUS=1 job: a1")
            daemon.await_log("job a1: download")
            child = psutil.Process(daemon.process.pid).children()[0]
            assert "NOTIFY_SOCKET" not in child.environ()
            daemon.send(signal.SIGTERM)
            assert daemon.wait() == 0
        heard = systemd.lines
    assert heard[0] == "READY=1"
    assert heard.count("READY=1") == heard.count("STOPPING=1") == 1
    assert "WATCHDOG=1" in heard
    after = heard[heard.index("STOPPING=1") :]
    told = [line for line in after if line.startswith("STATUS=")]
    assert all(line.startswith("STATUS=stopping") for line in told)


def test_systemd_hears_nothing_of_readiness_before_the_server_answered(
    world: JobWorld, tmp_path: Path
) -> None:
    """The account is good, but the projects cannot be read yet."""
    world.server.set_faults(action="status", endpoint="/api/graphql", status=502, count=1000)
    with NotifySocket(tmp_path) as systemd:
        variables = {"NOTIFY_SOCKET": str(systemd.path)}
        with world.run_worker(*STEADY, environment=variables) as daemon:
            daemon.await_log("trying again")
            assert "READY=1" not in systemd.lines
            daemon.kill()


def test_without_systemd_it_is_silent_about_it(world: JobWorld) -> None:
    """No socket, no complaint."""
    assert "NOTIFY" not in world.run_to_end()


def test_an_operator_is_told_what_runs_and_where_every_thread_is(world: JobWorld) -> None:
    """USR1: a line a job, and the stacks."""
    with busy(world, training("a1", wait_in="train")) as (daemon, _):
        daemon.await_log("job a1: train")

        def is_told() -> bool:
            daemon.send(signal.SIGUSR1)  # again: the third epoch may not have been heard of yet
            return "status: job a1 of bible/demo on cpu: Training epoch 3" in daemon.log

        await_true(is_told, "the status of the third epoch")
        daemon.await_log("stack of thread heartbeat")
    assert "status: 1 jobs run, 0 are done" in daemon.log


def test_an_operator_can_listen_more_closely_for_a_while(world: JobWorld) -> None:
    """USR2 once: debug lines; twice: no more of them."""
    with world.run_worker(*STEADY, "--keep-jobs", "0") as daemon:
        daemon.await_log("is ready")
        daemon.send(signal.SIGUSR2)
        daemon.await_log("debug logging is on for 15 minutes")
        world.submit(job("a1"))
        daemon.await_log("DEBUG gitlab_jobs.workspace: removed the old job directory")
        daemon.send(signal.SIGUSR2)
        daemon.await_log("debug logging is off")


def test_settings_are_read_again_and_what_needs_a_restart_is_named(
    world: JobWorld, tmp_path: Path
) -> None:
    """HUP: the log's form changes at once; a wrong file changes nothing."""
    config = tmp_path / "config.toml"
    config.write_text('log_format = "text"\n')
    with NotifySocket(tmp_path) as systemd:
        variables = {"NOTIFY_SOCKET": str(systemd.path)}
        arguments = (*STEADY, "--config", str(config))
        with world.run_worker(*arguments, environment=variables) as daemon:
            systemd.await_line("READY=1")
            config.write_text('log_format = "json"\nkeep_jobs = 7\n')
            daemon.send(signal.SIGHUP)
            daemon.await_log('"msg": "settings read again; changed: log_format"')
            daemon.await_log("these need a restart: keep_jobs")
            config.write_text("log_format = 12\n")
            daemon.send(signal.SIGHUP)
            daemon.await_log("the settings stay as they were")
            await_true(lambda: systemd.lines.count("READY=1") == 3, "the end of both reloads")
        heard = systemd.lines
    assert heard.count("RELOADING=1") == 2
    assert any(line.startswith("MONOTONIC_USEC=") for line in heard)


def test_systemd_is_asked_for_time_while_a_job_saves_its_work(
    world: JobWorld, tmp_path: Path
) -> None:
    """A job that does not listen takes its time of grace."""
    with NotifySocket(tmp_path) as systemd:
        variables = {"NOTIFY_SOCKET": str(systemd.path)}
        world.submit(job("a1", "Stubborn"))
        with world.run_worker(*STEADY, "--grace-s", "1", environment=variables) as daemon:
            daemon.await_log("job a1: infer")
            daemon.send(signal.SIGTERM)
            assert daemon.wait() == 0
        heard = systemd.lines
    assert heard.index("STOPPING=1") < heard.index("EXTEND_TIMEOUT_USEC=30000000")


def test_a_drain_is_no_stop_for_systemd_before_the_last_job_has_ended(
    world: JobWorld, tmp_path: Path
) -> None:
    """It would kill a daemon that says it is stopping and then works on for hours."""
    gate = tmp_path / "gate"
    with NotifySocket(tmp_path) as systemd:
        variables = {"NOTIFY_SOCKET": str(systemd.path)}
        world.submit(training("a1", wait_in="train", gate=str(gate)))
        with world.run_worker(*STEADY, environment=variables) as daemon:
            daemon.await_log("job a1: train")
            daemon.send(signal.SIGQUIT)
            daemon.send(signal.SIGUSR1)
            daemon.await_log("status: job a1")
            assert "STOPPING=1" not in systemd.lines
            gate.touch()
            assert daemon.wait() == 0
        assert "STOPPING=1" in systemd.lines


@pytest.mark.slow
def test_a_job_that_says_nothing_but_that_it_lives_is_not_taken_for_hung(
    world: JobWorld, tmp_path: Path
) -> None:
    """A bare heartbeat counts as a sign of progress; without any, the job is ended."""
    gate = tmp_path / "gate"
    quickly = (*STEADY, "--progress-s", "12", "--grace-s", "1")
    world.submit(training("a1", wait_in="train", gate=str(gate)), job("a2", "Stubborn"))
    with world.run_worker(*quickly, "--max-concurrent-jobs", "2") as daemon:
        daemon.await_log("job a2 ended: failed (The job stopped responding and was ended.")
        assert world.state("a1") == "running"
        gate.touch()
        daemon.await_log("job a1 ended: completed")
