"""A running batch as an operator's Prometheus sees it."""

from __future__ import annotations

import json
import socket
from typing import IO

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from support.batch_runs import Place
from support.children import until

from batch.errors import CannotRun

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def place(tmp_path):
    """An empty one."""
    return Place(tmp_path)


def address(lines: IO[bytes]) -> str:
    """Where it says that its metrics are."""
    for line in lines:
        told = json.loads(line)
        if told["event"] == "metrics":
            return str(told["address"])
    raise AssertionError("it never said where")


def scrape(url: str) -> Samples:
    """Samples by name and by the values of their labels."""
    reply = requests.get(url, timeout=10)
    reply.raise_for_status()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def test_the_pools_of_a_running_batch_can_be_scraped(place):
    """Its workers by state, its files by result, under names of stages and never of files."""
    place.record(*(f"secret-{number}.mp3" for number in range(40)))
    with place.start("--metrics-port", "0", "--pack", "1", sleep_s=0.3) as batch:
        url = address(batch.stdout)
        done = ("scriptorium_pool_requests_total", ("transcribe", "succeeded"))
        until(lambda: scrape(url).get(done, 0) >= 1)
        samples, text = scrape(url), requests.get(url, timeout=10).text
        batch.terminate()
        batch.communicate(timeout=60)

    workers = {
        labels[1]: count
        for (name, labels), count in samples.items()
        if name == "scriptorium_pool_workers" and labels[0] == "transcribe"
    }
    assert sum(workers.values()) == 1
    assert samples["scriptorium_pool_degraded", ("transcribe",)] == 0
    assert samples["scriptorium_pool_model_load_seconds_count", ("transcribe",)] == 1
    assert "secret" not in text


def test_a_port_that_is_taken_ends_the_batch_before_it_begins(place):
    """Nobody finds out after a week that nothing was watched."""
    place.record("a.mp3")
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(CannotRun, match="cannot serve metrics"),
    ):
        place.run("--metrics-port", str(taken.getsockname()[1]))
    assert place.said() == []
