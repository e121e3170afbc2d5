"""Pools of real children, for tests of what a pool does with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.children import TESTS_DIR

from runner.executors import Site, warm_executor
from runner.pool import Pool, PoolOptions
from runner.slot import Recycle
from runner.task import TaskSpec

QUICK = PoolOptions(backoff_first_s=0.02, backoff_most_s=0.05)


def recite(name: str = "Recite", **options: Any) -> TaskSpec:
    """The task of most tests."""
    return TaskSpec(f"support.tasks:{name}", options, import_paths=(TESTS_DIR,))


@contextmanager
def warm(
    tmp_path: Path,
    task: TaskSpec | None = None,
    options: PoolOptions = QUICK,
    recycle: Recycle | None = None,
    workers: int = 1,
) -> Iterator[Pool]:
    """A warm pool that is closed afterwards."""
    site = Site(tmp_path, devices=("cpu",) * workers)
    pool = warm_executor(task or recite(), site, options, recycle)
    try:
        yield pool
    finally:
        pool.close(0)
