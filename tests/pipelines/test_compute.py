"""Devices and number formats, refused in words where a machine lacks them."""

from __future__ import annotations

import pytest
import torch

from pipelines.compute import choose_device, choose_dtype, has_native_bfloat16
from pipelines.errors import DeviceUnavailable

CPU = torch.device("cpu")


def test_the_cpu_is_always_there():
    """The default works everywhere."""
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "meta", "", "mps"])
def test_a_device_that_is_not_there_is_refused(name):
    """In words that name the setting."""
    with pytest.raises(DeviceUnavailable, match=r"GPU|not known|not supported"):
        choose_device(name)


def test_a_missing_gpu_is_said_to_be_missing(monkeypatch):
    """The commonest mistake of an operator."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceUnavailable, match="no usable NVIDIA GPU"):
        choose_device("cuda")


def test_small_models_stay_in_float32():
    """They gain nothing from fewer digits."""
    assert choose_dtype("auto", CPU, width=96) is torch.float32
    assert choose_dtype("float32", CPU, width=4096) is torch.float32


@pytest.mark.parametrize("native", [True, False])
def test_wide_models_use_what_the_processor_has(monkeypatch, native):
    """Emulated bfloat16 would be slower than float32."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert has_native_bfloat16(CPU) is native
    expected = torch.bfloat16 if native else torch.float32
    assert choose_dtype("auto", CPU, width=1024) is expected


def test_an_unknown_precision_is_refused():
    """The message repeats the word."""
    with pytest.raises(DeviceUnavailable, match="int3"):
        choose_dtype("int3", CPU, width=96)
