"""Which processor and which number format a model runs in, and whether this machine has them.

The only place that asks torch about hardware; settings come in as plain words.
"""

from __future__ import annotations

import torch

from pipelines.errors import DeviceUnavailable

WORTHWHILE_WIDTH = 256
"""Narrower models gain nothing from bfloat16 on a CPU (measured for a Conformer on AVX512-BF16: 96 wide,
equal; 256 wide, 2.5× in inference and 1.6× in training; 1024 wide, 3.2× and 3.0×)."""


def choose_device(name: str) -> torch.device:
    """Turn "cpu", "cuda" or "cuda:1" into a device that exists.

    Raises:
        DeviceUnavailable: an unknown word, or a GPU that is not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceUnavailable(f'Device "{name}" is not known; use "cpu" or "cuda".') from error
    if device.type not in ("cpu", "cuda"):
        raise DeviceUnavailable(f'Device "{name}" is not supported; use "cpu" or "cuda".')
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceUnavailable('Device "cuda" is set, but this machine has no usable NVIDIA GPU.')
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceUnavailable(
            f'Device "{name}" is set, but there are only {torch.cuda.device_count()} GPUs.'
        )
    return device


def choose_dtype(precision: str, device: torch.device, *, width: int) -> torch.dtype:
    """Turn "auto", "float32" or "bfloat16" into a number format; `width` is the model's hidden size.

    "auto" is bfloat16 where the processor computes in it, and the model is wide enough to gain.

    Raises:
        DeviceUnavailable: an unknown word, or a format the processor lacks.
    """
    if precision == "float32":
        return torch.float32
    if precision not in ("auto", "bfloat16"):
        raise DeviceUnavailable(
            f'Precision "{precision}" is not known; use "auto", "float32" or "bfloat16".'
        )
    native = has_native_bfloat16(device)
    if precision == "bfloat16":
        if device.type == "cuda" and not native:
            raise DeviceUnavailable('Precision "bfloat16" is set, but this GPU does not have it.')
        return torch.bfloat16
    wide_enough = device.type == "cuda" or width >= WORTHWHILE_WIDTH
    return torch.bfloat16 if native and wide_enough else torch.float32


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 itself, rather than emulating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Private in torch 2.x, but the only question about AVX512-BF16 and AMX that needs no parsing.
    checks = (
        getattr(torch.cpu, name, None)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return any(check is not None and bool(check()) for check in checks)
