"""Recorded GPU machines at NVML's own boundary."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from runner.gpu_growth import gpu_bytes_of

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

    def nvmlDeviceGetRetiredPagesPendingStatus(self, handle: dict[str, Any]) -> int:
        return int(self._read(handle, "retirement"))

    def nvmlDeviceGetRemappedRows(self, handle: dict[str, Any]) -> list[int]:
        return [0, 0, int(self._read(handle, "remapping")), 0]

    def _read(self, handle: dict[str, Any], name: str) -> Any:
        if name not in handle:
            raise self.NVMLError("Not Supported")
        return handle[name]


LAPTOP = {"uuid": b"GPU-aaaa", "name": b"NVIDIA RTX A1000", "total": 6 * GIB, "used": GIB}


class LeakyGpu:
    """A GPU on which every process holds what the script says, reading by reading."""

    def __init__(self, *script_bytes: int) -> None:
        self._script = script_bytes
        self._readings: dict[int, int] = {}

    def __call__(self, _device: str, pid: int) -> int | None:
        """As the driver would tell for the child on this GPU."""
        number = self._readings[pid] = self._readings.get(pid, -1) + 1
        used = self._script[min(number, len(self._script) - 1)]
        machine = RecordedNvml([LAPTOP | {"processes": [(pid, used), (1, GIB)]}])
        return gpu_bytes_of("GPU-aaaa", pid, machine)
