"""Makes sure that a child sees the one GPU it was promised, through the CUDA driver alone.

Runs in the worker before anything heavy is imported: a job that would silently fall back to the CPU must
not start. Creates no CUDA context.
"""

from __future__ import annotations

import ctypes
import uuid

_DRIVER = "libcuda.so.1"
_MIG_PREFIX = "MIG-"


class DeviceMissing(Exception):
    """The driver does not show the promised device, or shows others as well."""


def check_device(promised: str) -> None:
    """Compare what the driver shows with a GPU's UUID or a MIG id; "cpu" needs nothing.

    Raises:
        DeviceMissing: with what was promised and what was found.
    """
    if promised == "cpu":
        return
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError as error:
        raise DeviceMissing(f"promised {promised}, but there is no CUDA driver: {error}") from error
    status = driver.cuInit(0)
    count = ctypes.c_int(0)
    if status == 0:
        status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or count.value != 1:
        raise DeviceMissing(f"promised {promised}, driver shows {count.value} (status {status})")
    if promised.startswith(_MIG_PREFIX):
        return  # the driver names a MIG slice by an id of its own
    raw = (ctypes.c_ubyte * 16)()
    status = driver.cuDeviceGetUuid(raw, 0)
    found = f"GPU-{uuid.UUID(bytes=bytes(raw))}"
    if status != 0 or found != promised:
        raise DeviceMissing(f"promised {promised}, driver shows {found} (status {status})")
