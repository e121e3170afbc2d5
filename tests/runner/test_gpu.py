"""The GPU inventory, on recorded machines at NVML's own boundary."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from runner.gpu import Gpu, GpuProcess, inventory

GIB = 1024**3


class RecordedNvml:
    """Answers as `pynvml` does; what a device lacks raises, as there."""

    NVML_DEVICE_MIG_ENABLE = 1
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_VOLATILE_ECC = 0
    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __init__(self, devices: list[dict[str, Any]], *, driver: bool = True) -> None:
        self.devices = devices
        self.driver = driver
        self.sessions = 0

    def nvmlInit(self) -> None:
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")
        self.sessions += 1

    def nvmlShutdown(self) -> None:
        self.sessions -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        device = self.devices[index]
        if device.get("lost"):
            raise self.NVMLError("GPU is lost")
        return device

    def nvmlDeviceGetMigMode(self, handle: dict[str, Any]) -> tuple[int, int]:
        mode = self._read(handle, "mig")
        return mode, mode

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict[str, Any], index: int) -> Any:
        if index >= len(handle["slices"]):
            raise self.NVMLError("Not Found")
        return handle["slices"][index]

    def nvmlDeviceGetUUID(self, handle: dict[str, Any]) -> Any:
        return handle["uuid"]

    def nvmlDeviceGetName(self, handle: dict[str, Any]) -> Any:
        return handle["name"]

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any]) -> Any:
        return SimpleNamespace(total=handle["total"], used=handle["used"])

    def nvmlDeviceGetComputeRunningProcesses(self, handle: dict[str, Any]) -> list[Any]:
        return [
            SimpleNamespace(pid=pid, usedGpuMemory=used)
            for pid, used in self._read(handle, "processes")
        ]

    def nvmlDeviceGetTotalEccErrors(self, handle: dict[str, Any], kind: int, counter: int) -> int:
        return int(self._read(handle, "ecc"))

    def nvmlDeviceGetTemperature(self, handle: dict[str, Any], sensor: int) -> int:
        return int(self._read(handle, "temperature"))

    def _read(self, handle: dict[str, Any], name: str) -> Any:
        if name not in handle:
            raise self.NVMLError("Not Supported")
        return handle[name]


LAPTOP = {"uuid": b"GPU-aaaa", "name": b"NVIDIA RTX A1000", "total": 6 * GIB, "used": GIB}


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
