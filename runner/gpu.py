"""The GPUs of this machine, as NVML tells them, by UUID.

NVML is reached through an injected binding (the `pynvml` module, or a recorded machine in a test). Without
a driver or a GPU the inventory is empty. Creates no CUDA context and imports nothing heavy.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

Binding = Any
"""A module with NVML's functions by their own names; it has no type information."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds memory of a GPU; a driver may hide how much."""

    pid: int
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device that a child can be given: a whole GPU or one MIG slice."""

    uuid: str
    """What CUDA_VISIBLE_DEVICES takes: "GPU-…" or "MIG-…"."""
    index: int
    """The position of the (parent) GPU in bus order, as `nvidia-smi` numbers it."""
    name: str
    total_bytes: int
    used_bytes: int
    processes: tuple[GpuProcess, ...]
    uncorrected_errors: int | None = None
    """Memory errors since the driver was loaded; None where the device does not count them."""
    temperature_c: int | None = None
    needs_restart: bool = False
    """Damaged memory waits for a restart to be replaced."""

    @property
    def free_bytes(self) -> int:
        """What nobody uses."""
        return self.total_bytes - self.used_bytes


def inventory(binding: Binding | None = None) -> list[Gpu]:
    """List the devices in bus order; empty without a driver, and without those that are lost."""
    nvml = binding if binding is not None else _nvml()
    try:
        with _session(nvml):
            count = nvml.nvmlDeviceGetCount()
            return [gpu for index in range(count) for gpu in _devices_at(nvml, index)]
    except nvml.NVMLError as error:
        logger.debug("no GPU inventory: %s", error)
        return []


def _nvml() -> Binding:
    return importlib.import_module("pynvml")


@contextmanager
def _session(binding: Binding) -> Iterator[None]:
    binding.nvmlInit()
    try:
        yield
    finally:
        binding.nvmlShutdown()


def _devices_at(binding: Binding, index: int) -> list[Gpu]:
    """The GPU at an index, or its MIG slices when it is cut into such."""
    try:
        handle = binding.nvmlDeviceGetHandleByIndex(index)
        slices = _mig_slices(binding, handle)
        return [_read(binding, device, index) for device in slices or [handle]]
    except binding.NVMLError as error:
        logger.warning("GPU %d cannot be used: %s", index, error)
        return []


def _mig_slices(binding: Binding, handle: Any) -> list[Any]:
    try:
        current, _ = binding.nvmlDeviceGetMigMode(handle)
    except binding.NVMLError:  # a GPU that cannot be cut
        return []
    if current != binding.NVML_DEVICE_MIG_ENABLE:
        return []
    slices = []
    for position in range(binding.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            slices.append(binding.nvmlDeviceGetMigDeviceHandleByIndex(handle, position))
        except binding.NVMLError:  # an unused position
            continue
    return slices


def _read(binding: Binding, device: Any, index: int) -> Gpu:
    memory = binding.nvmlDeviceGetMemoryInfo(device)
    return Gpu(
        uuid=_text(binding.nvmlDeviceGetUUID(device)),
        index=index,
        name=_text(binding.nvmlDeviceGetName(device)),
        total_bytes=memory.total,
        used_bytes=memory.used,
        processes=_processes(binding, device),
        uncorrected_errors=_optional(
            binding,
            "nvmlDeviceGetTotalEccErrors",
            device,
            binding.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            binding.NVML_VOLATILE_ECC,
        ),
        temperature_c=_optional(
            binding, "nvmlDeviceGetTemperature", device, binding.NVML_TEMPERATURE_GPU
        ),
        needs_restart=_needs_restart(binding, device),
    )


def _needs_restart(binding: Binding, device: Any) -> bool:
    """Older GPUs retire pages, newer ones remap rows; each lacks the other's counter."""
    if _optional(binding, "nvmlDeviceGetRetiredPagesPendingStatus", device):
        return True
    try:
        _, _, is_pending, _ = binding.nvmlDeviceGetRemappedRows(device)
    except binding.NVMLError:
        return False
    return bool(is_pending)


def _processes(binding: Binding, device: Any) -> tuple[GpuProcess, ...]:
    try:
        running = binding.nvmlDeviceGetComputeRunningProcesses(device)
    except binding.NVMLError:
        return ()
    return tuple(GpuProcess(process.pid, process.usedGpuMemory) for process in running)


def _optional(binding: Binding, name: str, *arguments: Any) -> int | None:
    """Ask for a reading that not every device has."""
    try:
        return int(getattr(binding, name)(*arguments))
    except binding.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
