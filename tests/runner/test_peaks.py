"""What tasks needed, remembered, and what is chosen for the next time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.children import TESTS_DIR

from runner.executors import Site, fresh_executor, warm_executor
from runner.isolation import Isolation, choose_isolation, needed_bytes
from runner.peak import Peak, own_peak
from runner.peak_store import KEPT, PeakStore
from runner.task import TaskSpec

GIB = 1 << 30


@pytest.mark.parametrize("make", [warm_executor, fresh_executor])
def test_an_executor_tells_what_its_children_held(tmp_path: Path, make: Any) -> None:
    """Although the child has given it back, and whatever this process holds itself."""
    ballast = bytearray(100 << 20)
    task = TaskSpec("support.tasks:Recite", import_paths=(TESTS_DIR,))
    pool = make(task, Site(tmp_path))
    pool.submit({"do": "leak", "bytes": 60_000_000}).result(60)
    peak = pool.status().workers[0].peak
    pool.close()

    assert len(ballast) > 60_000_000 < peak.host_bytes < 95_000_000
    assert peak.gpu_bytes == 0


@pytest.mark.parametrize(("is_used", "expected"), [(True, 3 * GIB), (False, 0)])
def test_a_gpus_peak_is_asked_of_the_library_that_holds_it(
    monkeypatch: pytest.MonkeyPatch, is_used: bool, expected: int
) -> None:
    """Only if it is loaded and has touched the GPU; asking must not start it."""
    cuda = SimpleNamespace(
        is_initialized=lambda: is_used, max_memory_reserved=lambda: 3 * GIB if is_used else 1 / 0
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))

    assert own_peak().gpu_bytes == expected


def test_what_was_learned_survives_a_restart(tmp_path: Path) -> None:
    """By key; the value covers 95 of 100 runs, not the one that went astray."""
    store = PeakStore(tmp_path / "state" / "peaks.json")
    for run in range(40):
        store.record("whisper base int8", Peak(run * GIB, 0))
    store.record("whisper base int8", Peak(1000 * GIB, 5))

    learned = PeakStore(tmp_path / "state" / "peaks.json").learned("whisper base int8")

    assert learned is not None
    assert (learned.runs, learned.peak) == (41, Peak(38 * GIB, 0))
    assert store.learned("another") is None


def test_old_runs_are_forgotten(tmp_path: Path) -> None:
    """The file stays small, and follows what changes."""
    store = PeakStore(tmp_path / "peaks.json")
    for gib in [9] * KEPT + [1] * KEPT:
        store.record("x", Peak(gib * GIB))

    learned = store.learned("x")
    assert learned is not None
    assert (learned.runs, learned.peak.host_bytes) == (KEPT, GIB)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": [{"host_bytes": "many"}]}', '{"x": 3}'])
def test_a_damaged_file_is_started_anew(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Experience can be had again; nothing stops for it."""
    path = tmp_path / "peaks.json"
    path.write_text(text)

    store = PeakStore(path)
    assert "anew" in caplog.text
    store.record("x", Peak(5, 6))
    assert json.loads(path.read_text()) == {"x": [{"host_bytes": 5, "gpu_bytes": 6}]}


@pytest.mark.parametrize(
    ("peaks", "room", "isolation", "fits", "words"),
    [
        ([Peak(2 * GIB), Peak(GIB)], Peak(8 * GIB), Isolation.KEPT, True, "3.0 of 8.0 GiB host"),
        ([Peak(2 * GIB), Peak(GIB)], Peak(3 * GIB), Isolation.STAGED, True, "one stage at a time"),
        ([Peak(4 * GIB), Peak(GIB)], Peak(3 * GIB), Isolation.STAGED, False, "4.0 of 3.0 GiB"),
        (
            [Peak(GIB, 6 * GIB), Peak(GIB, 6 * GIB)],
            Peak(64 * GIB, 8 * GIB),
            Isolation.STAGED,
            True,
            "12.0 of 8.0 GiB GPU",
        ),
        (
            [Peak(GIB, 6 * GIB), Peak(GIB)],
            Peak(64 * GIB, 8 * GIB),
            Isolation.KEPT,
            True,
            "6.0 of 8.0",
        ),
        ([Peak(GIB), None], Peak(64 * GIB), Isolation.STAGED, True, "1 of 2 stages"),
    ],
)
def test_models_are_kept_when_all_of_them_fit(
    peaks: list[Peak | None], room: Peak, isolation: Isolation, fits: bool, words: str
) -> None:
    """Unknown ones are kept apart; the reason has the numbers."""
    choice = choose_isolation(peaks, room)

    assert (choice.isolation, choice.fits) == (isolation, fits)
    assert words in choice.reason


def test_training_gets_a_child_per_phase() -> None:
    """Whatever fits."""
    choice = choose_isolation([Peak(1)], Peak(64 * GIB), is_training=True)
    assert choice.isolation is Isolation.STAGED


def test_a_need_is_more_than_what_was_seen() -> None:
    """A tenth, and half a gibibyte for what no allocator counts."""
    assert needed_bytes(10 * GIB) == 11 * GIB + (512 << 20)
