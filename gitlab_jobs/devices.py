"""The devices of this box: which ones the operator lets jobs use.

Settles at the start what a job may count on; a box whose GPUs cannot be used does not fall back to its
processor unasked. Knows no job.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from gitlab_jobs.errors import ConfigError
from gitlab_jobs.settings import WorkerSettings
from runner.gpu import Gpu, inventory
from runner.gpu_choice import NoSuchGpu, choose_gpus, has_gpu_devices

logger = logging.getLogger(__name__)

CPU = "cpu"
NO_GPU = "none"
"""What `--gpus` says where jobs should run on the processor although there are GPUs."""
_HINT = "see `nvidia-smi`; --allow-cpu lets jobs run on the processor, which is slow for training"


def choose_devices(
    settings: WorkerSettings,
    read: Callable[[], Sequence[Gpu]] = inventory,
    has_devices: Callable[[], bool] = has_gpu_devices,
) -> tuple[str, ...]:
    """What jobs may run on: GPUs and MIG slices by id, or the processor.

    Raises:
        ConfigError: GPUs were named or are there, and cannot be used.
    """
    if settings.gpus == NO_GPU:
        return (CPU,)
    try:
        gpus = choose_gpus(read(), settings.gpus)
    except NoSuchGpu as error:
        if not settings.allow_cpu:
            raise ConfigError(str(error), hint=_HINT) from error
        gpus = []
    if gpus:
        for gpu in gpus:
            logger.info("jobs run on %s (%s)", gpu.name, gpu.uuid)
        return tuple(gpu.uuid for gpu in gpus)
    if has_devices() and not settings.allow_cpu:
        raise ConfigError("this machine has a GPU, but its driver shows none", hint=_HINT)
    logger.info("no GPU found; jobs run on the CPU")
    return (CPU,)
