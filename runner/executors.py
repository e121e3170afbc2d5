"""Puts slots, pool and options together: the factories that callers use."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.fresh import FreshSlot
from runner.gpu_growth import GpuBytes, gpu_bytes_of
from runner.launch import launch_exec
from runner.limits import Limits
from runner.log_pipe import Mask
from runner.pool import Pool, PoolOptions
from runner.slot import Launch, Recycle, Slot, SlotSpec, unmasked
from runner.task import TaskSpec
from runner.thread import ThreadSlot
from runner.warm import WarmSlot


@dataclass(frozen=True, slots=True)
class Site:
    """Where an executor's children live, and on what."""

    work_dir: Path
    devices: tuple[str, ...] = ("cpu",)
    """One worker per entry: "cpu", a GPU's UUID or a MIG id; name one twice for two workers."""
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    mask: Mask = unmasked
    launch: Launch = launch_exec
    gpu_bytes: GpuBytes = gpu_bytes_of
    """Reads what a child holds on its GPU."""


def warm_executor(
    task: TaskSpec,
    site: Site,
    options: PoolOptions | None = None,
    recycle: Recycle | None = None,
) -> Pool:
    """Start children that keep the task set up; returns when the first is ready.

    Raises:
        PoolClosed: none of them could be started, with the reasons.
    """
    return _pool(WarmSlot, task, site, options, recycle or Recycle())


def fresh_executor(task: TaskSpec, site: Site, options: PoolOptions | None = None) -> Pool:
    """Give every item a child of its own, as many at a time as there are devices."""
    return _pool(FreshSlot, task, site, options, Recycle())


def thread_executor(task: TaskSpec, workers: int = 1, options: PoolOptions | None = None) -> Pool:
    """Run a task that waits for an external program in threads of this process.

    Raises:
        PoolClosed: the task cannot be set up, with the reason.
    """
    pool = Pool(lambda _device: ThreadSlot(task), ("cpu",) * workers, options)
    pool.initialize()
    return pool


def _pool(
    make: Callable[[SlotSpec], Slot],
    task: TaskSpec,
    site: Site,
    options: PoolOptions | None,
    recycle: Recycle,
) -> Pool:
    numbers = itertools.count()

    def make_slot(device: str) -> Slot:
        return make(
            SlotSpec(
                task=task,
                work_dir=site.work_dir / f"slot-{next(numbers)}",
                device=device,
                environment=site.environment,
                limits=site.limits,
                recycle=recycle,
                mask=site.mask,
                launch=site.launch,
                gpu_bytes=site.gpu_bytes,
            )
        )

    pool = Pool(make_slot, site.devices, options)
    pool.initialize()
    return pool
