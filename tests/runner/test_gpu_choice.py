"""Which GPUs an operator's words mean, on recorded machines."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.nvml import GIB, LAPTOP, RecordedNvml

from runner.gpu import Gpu, inventory
from runner.gpu_choice import NoSuchGpu, choose_gpus, has_gpu_devices

SERVER = {"name": b"NVIDIA A10", "total": 24 * GIB, "used": 0}
SLICES = [
    {"uuid": "MIG-1111", "name": "A100 1g", "total": 10 * GIB, "used": 0},
    {"uuid": "MIG-2222", "name": "A100 1g", "total": 10 * GIB, "used": 0},
]
MACHINE = [
    SERVER | {"uuid": b"GPU-aaaa"},
    SERVER | {"uuid": b"GPU-abcd"},
    SERVER | {"uuid": b"GPU-cccc", "mig": 1, "slices": SLICES},
    LAPTOP | {"uuid": b"GPU-screen", "total": GIB},
]


def machine() -> list[Gpu]:
    """Two whole GPUs, one that is cut into two, and one for the screen."""
    return inventory(RecordedNvml(MACHINE))


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (None, ["GPU-aaaa", "GPU-abcd", "MIG-1111", "MIG-2222"]),
        ("all", ["GPU-aaaa", "GPU-abcd", "MIG-1111", "MIG-2222"]),
        ("1,0", ["GPU-abcd", "GPU-aaaa"]),
        ("2", ["MIG-1111", "MIG-2222"]),
        ("gpu-ab, MIG-2222", ["GPU-abcd", "MIG-2222"]),
        ("0,GPU-aaaa", ["GPU-aaaa"]),
        ("GPU-screen", ["GPU-screen"]),
    ],
)
def test_gpus_are_named_by_index_or_by_the_beginning_of_their_id(
    wanted: str | None, chosen: list[str]
) -> None:
    """In the order given; a small one only if it is named."""
    assert [gpu.uuid for gpu in choose_gpus(machine(), wanted)] == chosen


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("4", "no GPU 4; there are: 0 (GPU-aaaa)"),
        ("GPU-a", "fits 2 GPUs"),
        ("GPU-zz", "no GPU GPU-zz"),
        (" , ", "no GPU is named"),
    ],
)
def test_a_name_that_fits_none_or_several_is_refused(wanted: str, words: str) -> None:
    """With what there is."""
    with pytest.raises(NoSuchGpu, match=words.replace("(", r"\(").replace(")", r"\)")):
        choose_gpus(machine(), wanted)


def test_a_machine_with_device_files_has_a_gpu_even_if_its_driver_shows_none(
    tmp_path: Path,
) -> None:
    """The control device alone is none."""
    (tmp_path / "nvidiactl").touch()
    assert not has_gpu_devices(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert has_gpu_devices(tmp_path)
