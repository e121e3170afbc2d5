"""Room on a GPU before a child, memory back after it, and what becomes of a sick one; on recorded machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.nvml import GIB, LAPTOP, RecordedNvml

from runner.gpu import Gpu, inventory
from runner.gpu_care import GpuCare
from runner.gpu_probe import probe_gpu
from runner.preflight import Admission, await_memory, check_room, estimate_peak_bytes

SERVER = {"uuid": b"GPU-bbbb", "name": b"NVIDIA A10", "total": 24 * GIB, "used": 0}


def gpu(**changes: Any) -> Gpu:
    """The server's GPU as NVML tells it."""
    return inventory(RecordedNvml([SERVER | changes]))[0]


@pytest.mark.parametrize(
    ("needed_gib", "state", "admission", "words"),
    [
        (20, {}, Admission.READY, "20.0 GiB needed, 24.0 GiB free"),
        (25, {}, Admission.REFUSED, "24.0 GiB in all"),
        (20, {"used": 12 * GIB, "processes": [(7, 12 * GIB)]}, Admission.WAIT, "hold 12.0 GiB"),
        (
            20,
            {"used": 12 * GIB, "processes": [(8, 12 * GIB)]},
            Admission.REFUSED,
            "process 8 holds 12.0 GiB",
        ),
        (
            20,
            {"used": 12 * GIB, "processes": [(7, 2 * GIB), (8, 10 * GIB)]},
            Admission.REFUSED,
            "process 8",
        ),
        (20, {"used": 12 * GIB}, Admission.REFUSED, "nobody says"),
    ],
)
def test_a_child_starts_waits_or_is_refused_with_numbers(
    needed_gib: int, state: dict[str, Any], admission: Admission, words: str
) -> None:
    """Ours will end; others may not; and what is too large never fits."""
    answer = check_room(gpu(**state), needed_gib * GIB, our_pids={7})

    assert answer.admission is admission
    assert words in answer.reason
    assert "NVIDIA A10" in answer.reason


def test_an_unknown_model_is_estimated_by_its_size() -> None:
    """Training holds gradients and moments as well."""
    infer = estimate_peak_bytes(600_000_000, parameter_bytes=2)
    train = estimate_peak_bytes(600_000_000, is_training=True)

    assert 1.2e9 < infer < 2e9
    assert 9.6e9 < train < 16e9


def test_memory_that_comes_back_in_time_is_no_trouble() -> None:
    """A driver needs a moment."""
    before = gpu(used=GIB)
    readings = iter([gpu(used=9 * GIB, processes=[(7, 8 * GIB)]), gpu(used=3 * GIB), gpu(used=GIB)])

    assert await_memory(lambda: next(readings), before, {7}) is None
    assert next(readings, None) is None


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"used": 9 * GIB, "processes": [(7, 8 * GIB)]}, "still hold it: 7"),
        ({"used": 2 * GIB}, "1024 MiB did not come back"),
        (None, "lost"),
    ],
)
def test_memory_that_stays_away_is_told(after: dict[str, Any] | None, words: str) -> None:
    """By process if there is one, else by size."""
    reading = None if after is None else gpu(**after)
    told = await_memory(lambda: reading, gpu(used=GIB), {7}, timeout_s=0.0)

    assert told is not None
    assert words in told


def test_a_sick_gpu_is_left_alone_and_trusted_again_after_three_good_probes() -> None:
    """The other one goes on; a bad probe starts the count again."""
    care = GpuCare(probe_every_s=600, good_probes=3)
    care.quarantine("GPU-aaaa", "512 MiB did not come back", now=0.0)
    care.quarantine("GPU-aaaa", "another reason", now=1.0)
    assert care.reason("GPU-aaaa") == "512 MiB did not come back"
    assert care.is_usable("GPU-bbbb")

    now = 0.0
    for is_good in (True, True, False, True, True):
        assert care.due_probes(now) == []
        now += 600
        assert care.due_probes(now) == ["GPU-aaaa"]
        care.note_probe("GPU-aaaa", now, is_good=is_good)
        assert not care.is_usable("GPU-aaaa")
    care.note_probe("GPU-aaaa", now + 600, is_good=True)

    assert care.is_usable("GPU-aaaa")
    assert care.due_probes(now + 9999) == []


def test_a_lost_gpu_is_quarantined_and_a_damaged_one_unusable_while_it_says_so() -> None:
    """Probes cannot talk damage away; a restart can."""
    care = GpuCare()
    machine = RecordedNvml([LAPTOP | {"lost": True}, SERVER | {"ecc": 2}])
    care.examine(inventory(machine), {"GPU-aaaa", "GPU-bbbb"}, now=0.0)
    assert care.reason("GPU-aaaa") == "the GPU is lost"
    assert care.reason("GPU-bbbb") == "2 uncorrected memory errors"
    assert care.due_probes(601.0) == ["GPU-aaaa"]

    machine = RecordedNvml([LAPTOP, SERVER | {"ecc": 0, "remapping": 1}])
    care.examine(inventory(machine), {"GPU-aaaa", "GPU-bbbb"}, now=1.0)
    assert not care.is_usable("GPU-aaaa")
    assert "restart" in str(care.reason("GPU-bbbb"))

    care.examine(inventory(RecordedNvml([LAPTOP, SERVER])), {"GPU-aaaa", "GPU-bbbb"}, now=2.0)
    assert care.is_usable("GPU-bbbb")


def test_a_probe_is_a_real_child_on_the_device(tmp_path: Path) -> None:
    """The CPU is always well; a GPU that is not there is not."""
    assert probe_gpu("cpu", tmp_path / "well") is None
    told = probe_gpu("GPU-00000000-1111-2222-3333-444444444444", tmp_path / "sick")
    assert told is not None
    assert "GPU_ERROR" in told
