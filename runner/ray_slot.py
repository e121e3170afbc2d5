"""A slot whose process is an actor on a Ray cluster, perhaps on another machine.

    pool thread ── item ──► actor.run ──► task, on whichever node has room
         └─ time is over, or the pool closes ─► ray.kill ─► the waiting call sees its end

Ray chooses the node, starts the process and tells when it is gone; queue, retries and statistics stay the pool's. Every
node needs this program under the same Python, and sees the folders that items name. Importing this module imports
Ray, so nobody does who has no cluster.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayError

from runner.boundary import Raised, boundary
from runner.errors import SlotDied, TaskTimeout
from runner.frames import JsonObject
from runner.peak import Peak, own_peak, own_rss_bytes
from runner.pool import Pool, PoolOptions
from runner.slot import Recycle, failure_from, load_failure
from runner.task import TaskSpec, extend_import_path, load_task
from runner.verdict import Verdict
from runner.wire import check_json


@dataclass(frozen=True, slots=True)
class RaySite:
    """How many actors, and what each takes of the cluster."""

    workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)
    load_timeout_s: float = 900.0
    recycle: Recycle = field(default_factory=Recycle)

    @property
    def device(self) -> str:
        """What a task's `setup` is told."""
        return "cuda" if self.gpus else "cpu"

    @property
    def runtime_env(self) -> JsonObject | None:
        """What Ray sets up before the process starts; None, which is quicker, where nothing is wanted."""
        return {"env_vars": dict(self.environment)} if self.environment else None


def ray_executor(task: TaskSpec, site: RaySite, options: PoolOptions | None = None) -> Pool:
    """Start actors that keep the task set up; returns when the first is ready.

    Needs a connection, see `runner.ray_cluster`.

    Raises:
        PoolClosed: none of them could be started, with the reasons.
    """
    pool = Pool(lambda _device: RaySlot(task, site), (site.device,) * site.workers, options)
    pool.initialize(site.load_timeout_s)
    return pool


class RaySlot:
    """Keeps one actor alive between items."""

    def __init__(self, task: TaskSpec, site: RaySite) -> None:
        self._task = task
        self._site = site
        self._actor: Any = None
        self._is_killed = False
        self._memory: JsonObject = {"pid": None, "rss_bytes": 0, "grown_bytes": 0}
        self._peak = Peak()
        self._items = 0
        self._begun_at = 0.0

    def load(self, on_spawned: Callable[[], None]) -> None:
        """Start the actor, wherever there is room, and wait until its task is set up."""
        site = self._site
        self._items, self._begun_at = 0, time.monotonic()
        paths = [str(path) for path in self._task.import_paths]
        kind = ray.remote(_Actor).options(
            num_cpus=site.cpus, num_gpus=site.gpus, max_restarts=0, runtime_env=site.runtime_env
        )
        try:
            actor = self._actor = kind.remote(self._task.to_json(), paths)
        except (RayError, ConnectionError) as error:
            raise SlotDied(Verdict.INTERNAL, f"no actor could be started: {error}") from error
        on_spawned()
        if self._is_killed:
            self._end()
        try:
            outcome = self._await(actor.setup.remote(site.device), site.load_timeout_s)
        except TaskTimeout:
            waited = f"{site.load_timeout_s:g} s"
            detail = f"no room on the cluster, or setting up took longer than {waited}"
            raise SlotDied(Verdict.NO_PROGRESS, detail) from None
        if "failed" in outcome:
            self._end()
            raise load_failure(outcome["failed"])

    def run(self, item: JsonObject, timeout_s: float) -> JsonObject:
        """Hand the item to the actor and wait for what comes of it."""
        actor = self._actor
        if actor is None:
            raise SlotDied(Verdict.CANCELED, "the slot is not loaded")
        outcome = self._await(actor.run.remote(item), timeout_s)
        self._items += 1
        if "failed" in outcome:
            raise failure_from(outcome["failed"])
        output: JsonObject = outcome["output"]
        return output

    def recycle_reason(self) -> str | None:
        """Items, age, or growth of its memory."""
        limits = self._site.recycle
        if self._items >= limits.max_items:
            return "items"
        if time.monotonic() - self._begun_at >= limits.max_age_s:
            return "age"
        return "growth" if self._memory["grown_bytes"] > limits.max_growth_bytes else None

    def unload(self) -> None:
        """End the actor; it holds nothing that it would have to save."""
        self._end()

    def drop(self) -> None:
        """End the actor at once; a waiting call sees its end, and a next load starts another."""
        self._end()

    def kill(self) -> None:
        """End the actor at once, and any that would follow; a waiting call sees its end."""
        self._is_killed = True
        self._end()

    @property
    def pid(self) -> int | None:
        """On its own node."""
        pid: int | None = self._memory["pid"]
        return pid

    @property
    def rss_bytes(self) -> int:
        """As the actor last told."""
        return int(self._memory["rss_bytes"])

    @property
    def peak(self) -> Peak:
        """Of all its actors so far."""
        return self._peak

    def _await(self, reference: Any, timeout_s: float) -> JsonObject:
        try:
            outcome: JsonObject = ray.get(reference, timeout=timeout_s)
        except GetTimeoutError:
            self._end()
            raise TaskTimeout(timeout_s) from None
        except RayError as error:
            self._end()
            raise SlotDied(self._verdict(error), _first_lines(error)) from error
        self._memory = outcome["memory"]
        self._peak |= Peak.from_json(outcome["peak"])
        return outcome

    def _verdict(self, error: RayError) -> Verdict:
        if self._is_killed:
            return Verdict.CANCELED
        # Ray's own watch over a node's memory says so only in words when the process was an actor.
        is_memory = isinstance(error, OutOfMemoryError) or "running low on memory" in str(error)
        return Verdict.OOM_HOST if is_memory else Verdict.CHILD_CRASH

    def _end(self) -> None:
        actor, self._actor = self._actor, None
        if actor is not None and ray.is_initialized():
            ray.kill(actor)


class _Actor:
    """The process at the other end; what its task raises is told as data."""

    def __init__(self, task: JsonObject, import_paths: list[str]) -> None:
        extend_import_path(tuple(map(Path, import_paths)))
        self._described = task
        self._task: Any = None
        self._baseline = 0

    def setup(self, device: str) -> JsonObject:
        """Load the task."""
        try:
            with boundary("load"):
                self._task = load_task(self._described["name"], self._described["options"])
                self._task.setup(device)
        except Raised as raised:
            return self._told(failed=raised.fields)
        return self._told()

    def run(self, item: JsonObject) -> JsonObject:
        """Work on one item."""
        try:
            with boundary("run"):
                output = self._task.run(item)
                check_json(output)
        except Raised as raised:
            return self._told(failed=raised.fields)
        return self._told(output=output)

    def _told(self, **outcome: Any) -> JsonObject:
        rss_bytes = own_rss_bytes()
        # What the first item leaves behind (caches, buffers) is no growth.
        if "output" in outcome:
            self._baseline = self._baseline or rss_bytes
        grown = rss_bytes - self._baseline if self._baseline else 0
        memory = {"pid": os.getpid(), "rss_bytes": rss_bytes, "grown_bytes": grown}
        return {**outcome, "memory": memory, "peak": own_peak().to_json()}


def _first_lines(error: RayError) -> str:
    """Ray's explanations go on with advice."""
    return " ".join(str(error).split())[:500]
