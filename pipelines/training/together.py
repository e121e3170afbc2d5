"""Train on every GPU that this process was given, and answer as if it had done so itself.

    this process                     torchrun's agent in a thread of it
      progress ◄──── a report ────── first process ◄─ gradients ─► second process …
               ─── go on, or stop ─►

The agent starts one process for each GPU, and all of them again when one dies; training then goes on from its last
state. A stop reaches the first process with the answer to a report, so that it saves before everybody ends. Knows
no model; what the processes do with each other is in team.py.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from typing import Generic, TypeVar

import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from pipelines.errors import PipelineError
from pipelines.progress import Progress, ignore_progress
from pipelines.training.team import join_team

T = TypeVar("T")
Training = Callable[[Progress], T]
"""Has to be picklable: a function of a module, or a `partial` of one with plain values."""

MAX_RESTARTS = 3
GO_ON, STOP = "go on", "stop"


def on_all_gpus(train: Training[T], device: str, progress: Progress) -> T:
    """Train here, or on all GPUs together where the device is "cuda" and there are several."""
    size = torch.cuda.device_count() if device == "cuda" else 1
    is_member = "WORLD_SIZE" in os.environ
    if size < 2 or is_member:
        return train(progress)
    return run_together(size, train, progress)


def run_together(size: int, train: Training[T], progress: Progress) -> T:
    """Train in `size` processes.

    Raises:
        BaseException: Whatever `train` or `progress` raises.
    """
    reason: BaseException | None = None
    with Listener(family="AF_UNIX") as listener, ThreadPoolExecutor(1) as pool:
        address = str(listener.address)
        launched = pool.submit(_launch, size, train, address)
        launched.add_done_callback(lambda _: Client(address).close())  # wakes the next line
        while not launched.done():
            with listener.accept() as line:
                reason = reason or _answer(line, progress)
        if reason is not None:
            raise reason
        outcome = launched.result()
    if outcome.error is not None:
        raise outcome.error
    assert outcome.value is not None
    return outcome.value


def _answer(line: Connection, progress: Progress) -> BaseException | None:
    """Pass reports on until the other end goes away; returns why it was told to stop, if it was."""
    while True:
        try:
            message, epoch, fraction = line.recv()
        except EOFError:
            return None
        try:
            progress(message, epoch=epoch, fraction=fraction)
        except BaseException as reason:  # noqa: BLE001  raised again once everybody has ended
            line.send(STOP)
            return reason
        line.send(GO_ON)


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[T]):
    value: T | None = None
    error: PipelineError | None = None


class _Stop(BaseException):
    """Somebody at the other end of the line does not want more."""


@dataclass(frozen=True, slots=True)
class _Reporter:
    line: Connection

    def __call__(
        self, message: str, *, epoch: int | None = None, fraction: float | None = None
    ) -> None:
        self.line.send((message, epoch, fraction))
        if self.line.recv() == STOP:
            raise _Stop


def _launch(size: int, train: Training[T], address: str) -> _Outcome[T]:
    """Do what `torchrun --standalone` does."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=size,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=MAX_RESTARTS,
    )
    outcome: _Outcome[T] = elastic_launch(config, _work)(train, address)[0]
    return outcome


def _work(train: Training[T], address: str) -> _Outcome[T]:
    """Be one of the processes; an error that a restart would not mend is an outcome."""
    try:
        if not join_team().writes:
            return _Outcome(train(ignore_progress))
        with Client(address) as line:
            return _Outcome(train(_Reporter(line)))
    except PipelineError as error:
        return _Outcome(error=error)
    except (_Stop, SystemExit):
        return _Outcome()
