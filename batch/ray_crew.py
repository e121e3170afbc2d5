"""Who does the work of a batch on a Ray cluster: one actor per GPU, or per node without any.

Stands where `batch.crew` stands for a local one, and runs the same tasks. Recordings and intermediate files go by
name, so every node must see the folders; that is looked at before anything is begun.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from batch.crew import CPU, LEAST_TIMEOUT_S, WAITING_PACKS, Tasks, chosen_tasks, counted, timeout_s
from batch.errors import CannotRun
from batch.flow import Stage
from batch.settings import BatchSettings
from batch.stages.extras import chosen_extras
from runner.errors import PoolClosed
from runner.pool import Pool, PoolOptions
from runner.ray_cluster import Node, connected, nodes, unseen
from runner.ray_slot import RaySite, ray_executor
from runner.stats import PoolStatus
from runner.task import TaskSpec

SMALL_SHARE = 0.1
"""Of a GPU, for an optional stage beside the model."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What each kind of actor takes of the cluster."""

    workers: int
    cpus: int
    gpus: float
    decoders: int
    helper_cpus: int
    """Of a decoder, or of an optional stage."""


class RayCrew:
    """Actors on a cluster."""

    def __init__(self, settings: BatchSettings, tasks: Tasks | None = None) -> None:
        """Connect, and choose how many actors there are.

        Raises:
            CannotRun: no cluster, or a model that is not here.
        """
        self._settings = settings
        self._pools: dict[str, Pool] = {}
        self._connection = ExitStack()
        extras = tasks.extras if tasks else chosen_extras(settings)
        try:
            self._connection.enter_context(connected(settings.ray_address))
        except PoolClosed as error:
            raise CannotRun(str(error), "ray start --head starts one") from error
        there = nodes()
        self._shares = shares(there, settings.threads, len(extras))
        device = "cuda" if self._shares.gpus else CPU
        chosen = tasks or chosen_tasks(settings, device, self._shares.cpus)
        self._tasks = replace(chosen, extras=extras)
        place = counted(len(there), "node")
        self.shown = (
            f"{settings.engine}, model {settings.model}, {settings.precision} precision: "
            f"{counted(self._shares.workers, 'worker')} on {place} at {settings.ray_address}"
        )

    @property
    def in_flight(self) -> int:
        """Packs between fetching and writing that keep everybody busy."""
        stages = self._shares.workers + len(self._tasks.extras)
        return stages * (1 + WAITING_PACKS) + self._shares.decoders

    def start(self, scratch: Path) -> list[Stage]:
        """Start the actors; returns when the model is loaded once.

        Raises:
            CannotRun: a node does not see a folder, or no actor could be started.
        """
        shares = self._shares
        helper = RaySite(cpus=shares.helper_cpus)
        model = RaySite(shares.workers, shares.cpus, shares.gpus)
        beside = replace(helper, gpus=SMALL_SHARE if shares.gpus else 0.0)
        try:
            self._check(scratch)
            decode = self._pool(
                "decode", self._tasks.decode, replace(helper, workers=shares.decoders)
            )
            transcribe = self._pool("transcribe", self._tasks.transcribe, model)
            extras = [
                Stage(
                    extra.name,
                    self._pool(extra.name, extra.task, beside),
                    timeout_s,
                    is_needed=False,
                )
                for extra in self._tasks.extras
            ]
        except PoolClosed as error:
            self.close(0.0)
            raise CannotRun(str(error), "see --model, --ray-address and --ray-scratch") from error
        return [
            Stage("decode", decode, lambda _: LEAST_TIMEOUT_S),
            Stage("transcribe", transcribe, timeout_s),
            *extras,
        ]

    def statuses(self) -> dict[str, PoolStatus]:
        """How the pools are now, by stage."""
        return {name: pool.status() for name, pool in tuple(self._pools.items())}

    def close(self, grace_s: float = 30.0) -> None:
        """End the actors and hang up."""
        for pool in self._pools.values():
            pool.close(grace_s)
        self._pools.clear()
        self._connection.close()

    def _pool(self, name: str, task: TaskSpec, site: RaySite) -> Pool:
        pool = ray_executor(task, site, PoolOptions(queue_limit=1000))
        self._pools[name] = pool
        return pool

    def _check(self, scratch: Path) -> None:
        missing = unseen(self._needed(), scratch)
        if missing:
            name, paths = next(iter(missing.items()))
            others = f" ({counted(len(missing), 'node')} in all)" if len(missing) > 1 else ""
            raise CannotRun(
                f"the node {name}{others} does not see {', '.join(paths)}",
                "all nodes must share these; --state and --ray-scratch say where our own files go",
            )

    def _needed(self) -> list[Path]:
        """What actors open by name."""
        settings = self._settings
        named = [settings.input or "", settings.model, settings.vocabulary, settings.replacements]
        paths = [Path(one) for one in named if one and "://" not in str(one)]
        # Beside the state lie the finished sections of long recordings.
        return [path.resolve() for path in (*paths, settings.state_path.parent) if path.exists()]


def shares(there: list[Node], wanted: int, extras: int) -> Shares:
    """Divide a cluster.

    Args:
        there: its machines.
        wanted: workers that the operator asks for; 0 for one per GPU, or per machine without any.
        extras: optional stages.
    """
    gpus = sum(node.gpus for node in there)
    cpus = sum(node.cpus for node in there)
    workers = wanted or gpus or len(there)
    decoders = max(1, min(workers, cpus // 4))
    helper_cpus = 1 if cpus >= workers + decoders + extras else 0
    if gpus:
        # An actor lies on one GPU; optional stages need a little of one.
        share = (1.0 - SMALL_SHARE * extras) / -(-workers // gpus)
        return Shares(workers, helper_cpus, share, decoders, helper_cpus)
    # An actor lies on one machine: the smallest must have room for it.
    smallest = min(node.cpus for node in there)
    left = (cpus - helper_cpus * (decoders + extras)) // workers
    return Shares(workers, max(1, min(left, smallest)), 0.0, decoders, helper_cpus)
