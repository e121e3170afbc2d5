"""The daemon's numbers as an operator's Prometheus gets them: over HTTP, from the real process."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from support.daemon import Daemon, await_true
from support.job_world import PROJECT, JobWorld, job, training

from gitlab_jobs.telemetry import Telemetry

STEADY = ("--loop-interval", "0.05", "--metrics-port", "0")
Samples = dict[str, float]


def address_of(daemon: Daemon) -> str:
    """Where it says that its metrics are."""
    daemon.await_log("metrics on http://")
    found = re.search(r"metrics on (\S+)", daemon.log)
    assert found is not None
    return found[1]


def scrape(url: str) -> Samples:
    """All samples by name and labels, in the order of the labels' names."""
    reply = requests.get(url, timeout=10)
    reply.raise_for_status()
    return {
        sample.name + "".join(f" {key}={sample.labels[key]}" for key in sorted(sample.labels)): (
            sample.value
        )
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def test_an_operator_sees_what_the_daemon_does(world: JobWorld, tmp_path: Path) -> None:
    """One job runs, one has failed, the projects were looked at; never a job's name."""
    gate = tmp_path / "gate"
    world.submit(
        job("lost", model="failing"), training("slow", epochs=1, wait_in="train", gate=str(gate))
    )
    with world.run_worker(*STEADY) as daemon:
        url = address_of(daemon)
        daemon.await_log("job slow: train")
        during = scrape(url)
        gate.touch()
        daemon.await_log("job slow ended: completed")
        await_true(lambda: scrape(url)["scriptorium_jobs_running"] == 0, "the end to be counted")
        after = scrape(url)
        text = requests.get(url, timeout=10).text

    assert during["scriptorium_jobs_running"] == 1
    assert during["scriptorium_job_slots"] == 1
    assert during["scriptorium_polls_total result=succeeded"] >= 1
    assert during["scriptorium_polls_total result=failed"] == 0
    assert (
        during["scriptorium_poll_last_success_timestamp_seconds"]
        > (during["scriptorium_up_since_seconds"])
    )
    assert during["process_resident_memory_bytes"] > 1e6
    assert after["scriptorium_jobs_total kind=asr mode=inference outcome=failed"] == 1
    assert sum(n for name, n in after.items() if "outcome=completed" in name) == 1
    assert "slow" not in text
    assert PROJECT not in text


def test_the_slots_are_told_as_a_pool_of_jobs(world: JobWorld, tmp_path: Path) -> None:
    """Who works, what waits and how long, what was started and what was replaced by which reason."""
    gate = tmp_path / "gate"
    world.submit(
        job("lost", model="failing"),
        training("slow", epochs=1, wait_in="train", gate=str(gate)),
        training("waits", epochs=1),
    )
    with world.run_worker(*STEADY) as daemon:
        url = address_of(daemon)
        daemon.await_log("job slow: train")
        during = scrape(url)
        gate.touch()
        daemon.await_log("job waits ended: completed")
        done = "scriptorium_pool_requests_total pool=jobs result=succeeded"
        await_true(lambda: scrape(url)[done] == 2, "the end to be counted")
        after = scrape(url)

    assert during["scriptorium_pool_workers pool=jobs state=processing"] == 1
    assert during["scriptorium_pool_queue_depth pool=jobs"] == 1
    assert 0 < during["scriptorium_pool_utilization_ratio pool=jobs"] <= 1
    assert after["scriptorium_pool_queue_depth pool=jobs"] == 0
    assert after["scriptorium_pool_requests_total pool=jobs result=failed"] == 1
    assert after["scriptorium_pool_replacements_total pool=jobs reason=FAILED"] == 1
    assert after["scriptorium_pool_model_load_seconds_count pool=jobs"] == 3
    assert after["scriptorium_pool_request_duration_seconds_count pool=jobs"] == 3
    assert after["scriptorium_pool_wait_seconds_sum pool=jobs"] > 0


def test_only_this_machine_can_ask(world: JobWorld) -> None:
    """Unless the operator says otherwise."""
    with world.run_worker(*STEADY) as daemon:
        port = int(address_of(daemon).split(":")[-1].split("/")[0])
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(daemon.process.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening == ["127.0.0.1"]
        assert scrape(f"http://127.0.0.1:{port}/metrics")


def test_without_the_flag_nothing_listens(world: JobWorld) -> None:
    """A daemon opens no port of its own accord."""
    with world.run_worker("--loop-interval", "600") as daemon:
        daemon.await_log("is ready as")
        connections = psutil.Process(daemon.process.pid).net_connections("inet")
        assert [one for one in connections if one.status == psutil.CONN_LISTEN] == []


def test_a_port_that_is_taken_is_a_wrong_setting(world: JobWorld) -> None:
    """The daemon does not run unseen when it was told to be seen."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with world.run_worker("--metrics-port", str(port)) as daemon:
            assert daemon.wait() == 78
            assert f"cannot serve metrics on 127.0.0.1:{port}" in daemon.log
            assert "choose another --metrics-port" in daemon.log


@pytest.mark.parametrize("is_good", [True, False])
def test_a_look_that_failed_does_not_count_as_the_last_success(*, is_good: bool) -> None:
    """The alert on it must fire."""
    telemetry = Telemetry()
    telemetry.note_poll(100.0, is_good=True)
    telemetry.note_poll(200.0, is_good=is_good)

    assert telemetry.read().last_poll_at == (200.0 if is_good else 100.0)
    assert sum(telemetry.read().polls.values()) == 2


def test_a_reading_does_not_change_afterwards() -> None:
    """A scrape sees one moment."""
    telemetry = Telemetry()
    before = telemetry.read()
    telemetry.note_poll(1.0, is_good=True)

    assert before.polls["succeeded"] == 0
    assert telemetry.read().polls["succeeded"] == 1
