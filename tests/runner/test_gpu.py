"""The GPU inventory, on recorded machines at NVML's own boundary."""

from __future__ import annotations

import pytest
from support.nvml import GIB, LAPTOP, RecordedNvml

from runner.gpu import Gpu, GpuProcess, inventory


def test_a_machine_without_a_driver_has_no_gpus() -> None:
    """Neither with a missing driver nor, on this machine, with a missing library."""
    assert inventory(RecordedNvml([], driver=False)) == []
    assert isinstance(inventory(), list)


def test_a_plain_gpu_is_described_as_far_as_it_tells() -> None:
    """What a device does not count is None, not 0."""
    nvml = RecordedNvml([LAPTOP])

    assert inventory(nvml) == [Gpu("GPU-aaaa", 0, "NVIDIA RTX A1000", 6 * GIB, GIB, processes=())]
    assert inventory(nvml)[0].free_bytes == 5 * GIB
    assert nvml.sessions == 0


def test_a_server_tells_processes_errors_and_temperature() -> None:
    """A driver may hide how much a foreign process uses."""
    server = LAPTOP | {"ecc": 2, "temperature": 61, "processes": [(10, GIB), (11, None)], "mig": 0}

    (gpu,) = inventory(RecordedNvml([server]))

    assert gpu.processes == (GpuProcess(10, GIB), GpuProcess(11, None))
    assert (gpu.uncorrected_errors, gpu.temperature_c) == (2, 61)


def test_slices_stand_for_a_gpu_that_is_cut() -> None:
    """A child can be given a slice, never the whole of a cut GPU."""
    parts = [LAPTOP | {"uuid": f"MIG-{number}", "total": GIB, "used": 0} for number in range(3)]

    gpus = inventory(RecordedNvml([LAPTOP, LAPTOP | {"mig": 1, "slices": parts}]))

    assert [(gpu.uuid, gpu.index) for gpu in gpus] == [
        ("GPU-aaaa", 0),
        ("MIG-0", 1),
        ("MIG-1", 1),
        ("MIG-2", 1),
    ]


def test_a_lost_gpu_does_not_hide_the_others() -> None:
    """It fell off the bus; the rest works on."""
    nvml = RecordedNvml([{"lost": True}, LAPTOP])

    assert [gpu.index for gpu in inventory(nvml)] == [1]


@pytest.mark.parametrize("counter", ["retirement", "remapping"])
def test_damaged_memory_that_waits_for_a_restart_is_told(counter: str) -> None:
    """Older and newer GPUs count differently."""
    sick, well = (LAPTOP | {counter: count} for count in (1, 0))

    assert [gpu.needs_restart for gpu in inventory(RecordedNvml([sick, well, LAPTOP]))] == [
        True,
        False,
        False,
    ]
