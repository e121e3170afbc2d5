"""When a worker that does its work is replaced all the same: real children, recorded GPUs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.children import TESTS_DIR
from support.nvml import GIB, LAPTOP, LeakyGpu, RecordedNvml

from runner.errors import TaskFailed
from runner.executors import Site, warm_executor
from runner.gpu_growth import SETTLING_READINGS, GpuGrowth, gpu_bytes_of
from runner.pool import Pool
from runner.slot import Recycle
from runner.task import TaskSpec

MIB = 1 << 20


def pool_on(tmp_path: Path, gpu_bytes: Callable[[str, int], int | None]) -> Pool:
    """One warm worker whose GPU is looked at after every item."""
    task = TaskSpec("support.tasks:Recite", import_paths=(TESTS_DIR,))
    site = Site(tmp_path, gpu_bytes=gpu_bytes)
    return warm_executor(task, site, recycle=Recycle(gpu_interval_s=0.0))


def test_a_worker_whose_gpu_memory_keeps_growing_is_replaced(tmp_path: Path) -> None:
    """A tenth more than its first items took; the next one starts anew."""
    leaky = LeakyGpu(*[GIB] * SETTLING_READINGS, GIB + 90 * MIB, GIB + 120 * MIB)
    pool = pool_on(tmp_path, leaky)
    outputs = [pool.submit({}).result(60) for _ in range(SETTLING_READINGS + 3)]
    replacements = pool.status().replacements
    pool.close(5)

    assert replacements == {"gpu_growth": 1}
    assert [output["count"] for output in outputs[-2:]] == [SETTLING_READINGS + 2, 1]


def test_a_worker_whose_gpu_memory_stays_is_kept(tmp_path: Path) -> None:
    """What the longest of the first items took is no leak."""
    steady = LeakyGpu(GIB, 2 * GIB, GIB)
    pool = pool_on(tmp_path, steady)
    outputs = [pool.submit({}).result(60) for _ in range(SETTLING_READINGS + 3)]
    pool.close(5)

    assert len({output["pid"] for output in outputs}) == 1


def test_a_worker_that_met_a_cuda_error_is_never_used_again(tmp_path: Path) -> None:
    """Its context is broken, although the process answers."""
    pool = pool_on(tmp_path, LeakyGpu(GIB))
    before = pool.submit({}).result(60)
    with pytest.raises(TaskFailed) as caught:
        pool.submit({"do": "lose_the_gpu"}).result(60)
    after = pool.submit({}).result(60)
    replacements = pool.status().replacements
    pool.close(5)

    assert caught.value.code == "GPU_ERROR"
    assert before["pid"] != after["pid"]
    assert replacements == {"GPU_ERROR": 1}


@pytest.mark.parametrize(
    ("readings", "is_too_much"),
    [
        ([100 * MIB] * 11 + [150 * MIB], False),
        ([100 * MIB] * 11 + [170 * MIB], True),
        ([GIB] * 11 + [GIB + 100 * MIB], False),
        ([None] * 20, False),
        ([], False),
    ],
)
def test_growth_is_judged_against_the_first_readings(
    readings: list[int | None], is_too_much: bool
) -> None:
    """A tenth, but never less than what a driver rounds up."""
    growth = GpuGrowth(0.1, interval_s=1.0)
    for second, reading in enumerate(readings):
        growth.look(lambda used=reading: used, float(second))
        growth.look(lambda: 100 * GIB, second + 0.5)  # too early: nobody asks the driver
    assert growth.is_too_much is is_too_much


def test_nobody_asks_a_driver_for_a_worker_on_a_cpu() -> None:
    """And a process that the driver does not show has told nothing."""
    machine = RecordedNvml([LAPTOP | {"processes": [(7, GIB)]}])

    assert gpu_bytes_of("cpu", 7, machine) is None
    assert gpu_bytes_of("GPU-aaaa", 7, machine) == GIB
    assert gpu_bytes_of("GPU-aaaa", 8, machine) is None
