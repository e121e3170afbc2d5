"""Which of this machine's GPUs to use: all that are worth it, or those that an operator names.

Pure but for one look at the device files, which tells a machine without a GPU from one whose driver is
broken: the second must not pass for the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.gpu import Gpu

LEAST_BYTES = 2 << 30
"""A GPU with less drives a screen; it is used only if it is named."""
_DEVICE_FILES = Path("/dev")


class NoSuchGpu(LookupError):
    """A GPU was named that is not there, or whose name fits several."""


def choose_gpus(found: Sequence[Gpu], wanted: str | None = None) -> list[Gpu]:
    """Pick GPUs and MIG slices, in bus order unless they are named in another.

    Args:
        found: the inventory.
        wanted: names with commas between them: an index, a UUID or MIG id or its beginning. None or "all"
            for every GPU that is large enough.

    Raises:
        NoSuchGpu: in words for the operator.
    """
    if wanted is None or wanted.strip().lower() == "all":
        return [gpu for gpu in found if gpu.total_bytes >= LEAST_BYTES]
    chosen: dict[str, Gpu] = {}
    for name in filter(None, map(str.strip, wanted.split(","))):
        for gpu in _named(found, name):
            chosen[gpu.uuid] = gpu
    if not chosen:
        raise NoSuchGpu("no GPU is named")
    return list(chosen.values())


def has_gpu_devices(device_files: Path = _DEVICE_FILES) -> bool:
    """Whether a driver has made device files, so that an empty inventory means trouble."""
    return any(path.name[6:].isdigit() for path in device_files.glob("nvidia*"))


def _named(found: Sequence[Gpu], name: str) -> list[Gpu]:
    """All slices of the GPU with an index, or the one device whose id begins so."""
    if name.isdigit():
        fitting = [gpu for gpu in found if gpu.index == int(name)]
    else:
        fitting = [gpu for gpu in found if gpu.uuid.lower().startswith(name.lower())]
        if len(fitting) > 1:
            raise NoSuchGpu(f"{name} fits {len(fitting)} GPUs; name more of it")
    if not fitting:
        there = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in found) or "none"
        raise NoSuchGpu(f"there is no GPU {name}; there are: {there}")
    return fitting
