"""A batch on a real Ray cluster of one small node."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.batch_runs import Place
from support.children import until
from support.ray_cluster import ray_cluster

from batch.errors import BadUsage
from batch.settings import load_settings


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Its address; only programs of these tests connect to it."""
    with ray_cluster() as address:
        yield address


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty one."""
    return Place(tmp_path)


@pytest.mark.slow
def test_the_same_stages_run_on_a_cluster(place: Place, cluster: str) -> None:
    """Files that are bad or deadly fail alone; nothing stays in the shared folder or on the cluster."""
    place.record("a.mp3", "bad.mp3", "deadly.mp3", "deep/z.mp3")
    shared = place.home / "shared"
    shared.mkdir()
    process = place.start("--ray-address", cluster, "--ray-scratch", str(shared))
    said, errors = process.communicate(timeout=110)
    assert process.returncode == 80, errors.decode()
    assert place.statuses() == {
        "a.mp3": "complete", "bad.mp3": "failed", "deadly.mp3": "failed", "deep/z.mp3": "complete",
    }  # fmt: skip
    assert (place.output / "deep" / "z.mp3.srt").exists()
    assert b'"AUDIO_UNREADABLE": 1' in said
    assert b'"CHILD_CRASH": 1' in said
    assert not list(shared.iterdir())
    until(lambda: not actors())


@pytest.mark.slow
def test_a_term_finishes_what_is_in_flight_on_the_cluster(place: Place, cluster: str) -> None:
    """Ray does not take the signal away; the next run, here, does the rest."""
    place.record(*(f"{n}.mp3" for n in range(30)))
    flags = ("--pack", "1", "--parallel", "2", "--ray-address", cluster)
    process = place.start(*flags, sleep_s=0.1)
    until(lambda: len(place.said()) >= 2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    done = len(place.said())
    assert list(place.statuses().values()).count("complete") == done < 30
    assert place.run().exit_code == 0
    assert len(place.said()) == 30


def test_what_does_not_go_together_with_a_cluster_is_said() -> None:
    """Before anything is begun."""
    for flags in (["--isolation", "stage"], ["--remote"], []):
        address = ["--ray-address", "auto"] if flags else ["--ray-scratch", "/shared"]
        with pytest.raises(BadUsage, match="--ray-"):
            load_settings(["--input", ".", *flags, *address])


def actors() -> list[str]:
    """Actors of ours that are still alive on this machine."""
    named = (process.info["name"] or "" for process in psutil.process_iter(["name"]))
    return [name for name in named if name.startswith("ray::_Actor")]
