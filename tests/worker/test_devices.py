"""What jobs may run on, by the operator's settings and what the machine has."""

from __future__ import annotations

import pytest
from support.nvml import LAPTOP, RecordedNvml

from gitlab_jobs.devices import choose_devices
from gitlab_jobs.errors import ConfigError
from gitlab_jobs.settings import WorkerSettings
from runner.gpu import Gpu, inventory


def laptop() -> list[Gpu]:
    """One GPU."""
    return inventory(RecordedNvml([LAPTOP]))


def nothing() -> list[Gpu]:
    """A machine whose driver shows no GPU."""
    return inventory(RecordedNvml([], driver=False))


def test_every_gpu_is_used_and_the_processor_where_there_is_none() -> None:
    """Unless the operator wants the processor."""
    assert choose_devices(WorkerSettings(), laptop, lambda: True) == ("GPU-aaaa",)
    assert choose_devices(WorkerSettings(), nothing, lambda: False) == ("cpu",)
    assert choose_devices(WorkerSettings(gpus="none"), laptop, lambda: True) == ("cpu",)


@pytest.mark.parametrize(
    ("gpus", "has_devices", "words"),
    [("3", False, "no GPU 3"), (None, True, "driver shows none")],
)
def test_no_box_with_a_gpu_falls_back_to_its_processor_unasked(
    gpus: str | None, has_devices: bool, words: str
) -> None:
    """A broken driver, or a GPU that is not there; allowed, it goes on."""
    with pytest.raises(ConfigError, match=words):
        choose_devices(WorkerSettings(gpus=gpus), nothing, lambda: has_devices)
    allowed = WorkerSettings(gpus=gpus, allow_cpu=True)
    assert choose_devices(allowed, nothing, lambda: has_devices) == ("cpu",)
