"""The ways in which `benchmarks.runner` starts pools, times work and tells a figure."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.runner_tasks import burn
from runner.executors import Site, warm_executor
from runner.pool import Pool, PoolOptions
from runner.task import TaskSpec

ROOT = Path(__file__).resolve().parent.parent
ITEM_S = 0.2
PATIENT = PoolOptions(queue_limit=20_000, backoff_first_s=0.01, backoff_most_s=0.05)


@dataclass(frozen=True)
class Row:
    """One line of the table; `is_kept` is None where there is a figure but no budget."""

    what: str
    measured: str
    budget: str = "–"
    is_kept: bool | None = None


def task(name: str, **options: object) -> TaskSpec:
    """One of the benchmark's own tasks."""
    return TaskSpec(f"benchmarks.runner_tasks:{name}", options, import_paths=(ROOT,))


@contextmanager
def warm(home: Path, spec: TaskSpec, workers: int = 1) -> Iterator[Pool]:
    """A warm pool whose workers are all ready."""
    pool = warm_executor(spec, Site(home, devices=("cpu",) * workers), PATIENT)
    try:
        while pool.status().idle < workers:
            time.sleep(0.01)
        yield pool
    finally:
        pool.close(5)


def took_s(work: Callable[[], object]) -> float:
    """How long a call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def iterations_for(duration_s: float) -> int:
    """How much hashing takes so long on this machine, now."""
    trial = 200_000
    return round(trial * duration_s / min(took_s(lambda: burn(trial)) for _ in range(5)))


def run_in_turn(pool: Pool, count: int) -> float:
    """Run empty items with a hundred on their way at any time; returns how long it took."""

    def work() -> None:
        on_their_way: deque[Future[dict[str, object]]] = deque()
        for _ in range(count):
            if len(on_their_way) == 100:
                on_their_way.popleft().result(120)
            on_their_way.append(pool.submit({}))
        while on_their_way:
            on_their_way.popleft().result(120)

    return took_s(work)


def run_all(pool: Pool, items: Sequence[dict[str, object]]) -> float:
    """Submit everything at once; returns how long it took."""

    def work() -> None:
        for future in [pool.submit(dict(item)) for item in items]:
            future.result(120)

    return took_s(work)
