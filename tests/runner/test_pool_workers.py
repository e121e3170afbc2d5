"""How a pool keeps its workers: started, replaced, unloaded, disabled, more of them and fewer; real children."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.children import until
from support.pools import QUICK, recite, warm

from runner.errors import PoolClosed
from runner.executors import Site, warm_executor
from runner.pool import PoolOptions
from runner.slot import Recycle


def test_a_killed_worker_is_replaced_unasked(tmp_path: Path) -> None:
    """Its item is done by the next one."""
    with warm(tmp_path) as pool:
        first = pool.submit({"do": "sleep", "for_s": 0.4})
        until(first.running)
        pid = pool.status().workers[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert first.result(60)["pid"] != pid


@pytest.mark.parametrize(
    ("recycle", "items", "reason"),
    [
        (Recycle(max_items=2), [{}, {}, {}], "items"),
        (Recycle(max_age_s=0.0), [{}, {}], "age"),
        (
            Recycle(max_growth_bytes=20_000_000),
            [{}, {"do": "leak", "bytes": 60_000_000}, {}],
            "growth",
        ),
        (Recycle(), [{"do": "lose_the_gpu"}, {}], "GPU_ERROR"),
    ],
)
def test_a_worker_is_replaced_in_time(
    tmp_path: Path, recycle: Recycle, items: list[dict[str, Any]], reason: str
) -> None:
    """By count, age, growth, and after any CUDA error."""
    with warm(tmp_path, recycle=recycle) as pool:
        for item in items:
            assert pool.submit(item).exception(60) is None or reason == "GPU_ERROR"
        assert reason in pool.status().replacements
        last = pool.submit({}).result(60)

    assert last["count"] <= 2


def test_an_idle_worker_gives_its_memory_back_and_comes_again(tmp_path: Path) -> None:
    """The process is gone until there is work."""
    options = PoolOptions(keep_alive_s=0.1)
    with warm(tmp_path, options=options) as pool:
        first = pool.submit({}).result(60)
        until(lambda: pool.status().workers[0].state == "terminated")
        assert not Path(f"/proc/{first['pid']}").exists()
        assert pool.status().workers[0].pid is None
        second = pool.submit({}).result(60)

    assert first["pid"] != second["pid"]
    assert second["count"] == 1


def test_unloading_at_once_still_starts(tmp_path: Path) -> None:
    """A keep-alive of 0 means no memory between items."""
    with warm(tmp_path, options=PoolOptions(keep_alive_s=0.0)) as pool:
        assert pool.submit({}).result(60)["count"] == 1


def test_a_pool_whose_workers_cannot_start_says_why(tmp_path: Path) -> None:
    """It never waits for ever."""
    with pytest.raises(PoolClosed, match="no weights at /models/x"):
        warm_executor(recite("CannotLoad"), Site(tmp_path), QUICK)


def test_a_worker_that_cannot_come_back_is_disabled_and_its_queue_told(tmp_path: Path) -> None:
    """Five failed starts are enough; nobody waits for a dead pool."""
    task = recite("CannotLoadTwice", diary=str(tmp_path / "diary"))
    with warm(tmp_path, task) as pool:
        pool.submit({}).result(60)
        with pytest.raises(PoolClosed, match="the weights are gone"):
            pool.submit({"do": "crash"}).result(60)
        assert pool.status().failed == 1
        assert pool.status().is_degraded


def test_a_pool_grows_while_it_works(tmp_path: Path) -> None:
    """The new worker takes what waits behind the busy one."""
    with warm(tmp_path) as pool:
        busy = pool.submit({"do": "sleep", "for_s": 60})
        until(busy.running)
        pool.resize(("cpu", "cpu"))
        pids = {worker.pid for worker in pool.status().workers}
        assert pool.submit({}).result(60)["count"] == 1
        assert pool.status().total == len(pids) == 2
        assert not busy.done()


def test_a_pool_shrinks_by_its_idlest_worker_and_loses_no_item(tmp_path: Path) -> None:
    """Who works on something finishes it; processes of those that leave are gone."""
    with warm(tmp_path, workers=3) as pool:
        until(lambda: pool.status().idle == 3)
        busy = pool.submit({"do": "sleep", "for_s": 0.3, "name": "kept"})
        until(busy.running)
        before = {worker.pid for worker in pool.status().workers}
        pool.resize(("cpu",))
        assert busy.result(60)["text"] == "hello kept"
        until(lambda: pool.status().total == 1)
        stayed = {worker.pid for worker in pool.status().workers}
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before - stayed))
        assert [pool.submit({}).result(60)["pid"] for _ in range(3)].count(*stayed) == 3
        assert not pool.status().is_degraded


def test_a_pool_moves_to_other_devices(tmp_path: Path) -> None:
    """One worker per entry, whatever was there before; never none."""
    with warm(tmp_path, workers=2) as pool:
        with pytest.raises(ValueError, match="one worker at least"):
            pool.resize(())
        pool.resize(("cpu",))
        pool.resize(("cpu", "cpu", "cpu"))
        until(lambda: pool.status().idle == 3)
        names = [worker.name for worker in pool.status().workers]

    assert len(set(names)) == 3
    with pytest.raises(PoolClosed):
        pool.resize(("cpu",))
