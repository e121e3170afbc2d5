"""The processes of one machine that train one model together: who I am among them, and what we agree on.

    torchrun --standalone --nproc-per-node N …     starts them, tells each its rank, starts them again when one dies

Everybody holds the whole model and takes every Nth batch of a step; gradients are added up before it. The first
process is the writer: only it reports, evaluates for all and touches the disk. A process alone is a team of one,
for which everything here does nothing. Knows no model and no loop.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from pipelines.progress import Progress, ignore_progress

T = TypeVar("T")

PATIENCE = timedelta(hours=1)
"""How long one waits for another: the writer may be saving, or reading recordings for all."""


@dataclass(frozen=True, slots=True)
class Team:
    """One process's place; every method that the writer calls has to be called by all."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process is the one that reports and saves."""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """Give every process its own GPU; a CPU is shared."""
        if self.size == 1 or device.type != "cuda":
            return device
        return torch.device("cuda", self.rank)

    def share(self, batches: Sequence[T]) -> Sequence[tuple[int, T]]:
        """The batches of a step that are this process's, each with its place in the step."""
        return list(enumerate(batches))[self.rank :: self.size]

    def scratch(self, home: Path) -> Path:
        """Where this process may write whatever the others write as well."""
        if self.writes:
            return home
        own = home / f"process-{self.rank}"
        own.mkdir(parents=True, exist_ok=True)
        return own

    def report(self, progress: Progress) -> Progress:
        """Only the writer is heard."""
        return progress if self.writes else ignore_progress

    def gather(self, mine: T) -> list[T]:
        """Exchange plain values; everybody gets all of them, in the order of the ranks."""
        if self.size == 1:
            return [mine]
        everyones = [mine] * self.size
        dist.all_gather_object(everyones, mine)
        return everyones

    def follow(self, mine: T) -> T:
        """Replace a plain value by the writer's."""
        return self.gather(mine)[0]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the team."""
        if self.size > 1:
            pending = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
            for work in pending:
                if work is not None:
                    work.wait()

    @contextmanager
    def writer_first(self) -> Iterator[None]:
        """Let the writer do something before the others, who find what it left on the disk."""
        if not self.writes:
            self.gather(None)
        try:
            yield
        finally:  # what fails here fails for the others as well, in the same words
            if self.writes:
                self.gather(None)


ALONE = Team()


def join_team() -> Team:
    """Find the others if torchrun started this process, else be alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    team = Team(int(os.environ["RANK"]), size)
    if not dist.is_initialized():
        _meet(team)
    return team


def _meet(team: Team) -> None:
    """Connect to the others."""
    has_gpus = torch.cuda.is_available()
    if has_gpus:
        torch.cuda.set_device(team.rank)
    store, _, _ = next(rendezvous("env://", team.rank, team.size, timeout=PATIENCE))
    # torchrun keeps its store when it starts us again: without a name of its own, an attempt would
    # look for the processes of the one before.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    dist.init_process_group(
        # Plain values travel through the CPU, tensors from GPU to GPU.
        "cpu:gloo,cuda:nccl" if has_gpus else "gloo",
        store=PrefixStore(f"attempt-{attempt}", store),
        rank=team.rank,
        world_size=team.size,
        timeout=PATIENCE,
    )
