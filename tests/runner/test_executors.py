"""One contract, every executor: items in, outputs or errors out, whatever runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.children import TESTS_DIR
from support.pools import recite

from runner.errors import PoolClosed, TaskFailed
from runner.executor import Executor
from runner.executors import Site, fresh_executor, thread_executor, warm_executor
from runner.frames import FrameError
from runner.inline import InlineExecutor
from runner.task import TaskSpec
from runner.zygote_launch import ZygoteLauncher

Make = Callable[[TaskSpec], Executor]
KINDS = ("inline", "warm", "fresh", "fresh from a zygote", "thread")
RAY = pytest.param("ray", marks=pytest.mark.slow)


@contextmanager
def launcher_for(kind: str) -> Iterator[ZygoteLauncher | None]:
    """A zygote for the kind that needs one."""
    if kind != "fresh from a zygote":
        yield None
        return
    launcher = ZygoteLauncher(("json", "support.tasks"), import_paths=(TESTS_DIR,))
    try:
        yield launcher
        assert launcher.execs == 0
    finally:
        launcher.close()


def on_ray(request: pytest.FixtureRequest, task: TaskSpec) -> Executor:
    """An actor on a cluster that is started for the first test that needs it."""
    request.getfixturevalue("ray_connection")
    from runner.ray_slot import RaySite, ray_executor

    return ray_executor(task, RaySite())


@pytest.fixture(params=(*KINDS, RAY))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Make an executor of each kind, closed afterwards."""
    made: list[Executor] = []
    with launcher_for(request.param) as launcher:

        def make(task: TaskSpec) -> Executor:
            site = Site(tmp_path) if launcher is None else Site(tmp_path, launch=launcher)
            if request.param == "inline":
                made.append(InlineExecutor(task))
            elif request.param == "thread":
                made.append(thread_executor(task))
            elif request.param == "ray":
                made.append(on_ray(request, task))
            elif request.param == "warm":
                made.append(warm_executor(task, site))
            else:
                made.append(fresh_executor(task, site))
            return made[-1]

        yield make
        for executor in made:
            executor.close(5)


def test_an_item_comes_back_as_an_output(make: Make) -> None:
    """With the options that the task was given, in any script."""
    output = make(recite(greeting="Guten Tag")).submit({"name": "Ɖoë"}).result(60)

    assert output["text"] == "Guten Tag Ɖoë"
    assert output["device"] == "cpu"


def test_many_items_come_back_each_to_its_own_future(make: Make) -> None:
    """Order of ending is free, ownership is not."""
    executor = make(recite())
    futures = [executor.submit({"name": str(number)}, audio_s=2.0) for number in range(8)]

    assert [future.result(60)["text"] for future in futures] == [f"hello {n}" for n in range(8)]
    status = executor.status()
    assert (status.succeeded, status.failures, status.queue_depth) == (8, 0, 0)
    assert status.latency.count == 8
    assert status.latency.p50_s <= status.latency.p95_s <= status.latency.p99_s
    assert status.audio_s_per_s > 0
    assert 0 <= status.utilisation <= 1


def test_a_failing_item_fails_alone(make: Make) -> None:
    """With class, message and traceback of where it happened."""
    executor = make(recite())
    bad = executor.submit({"do": "fail", "name": "Rumpelstilzchen"})
    good = executor.submit({"name": "x"})

    with pytest.raises(TaskFailed, match="cannot say Rumpelstilzchen") as caught:
        bad.result(60)
    assert caught.value.kind == "ValueError"
    assert "tasks.py" in caught.value.traceback
    assert good.result(60)["text"] == "hello x"
    assert executor.status().failures == 1


def test_an_item_that_is_no_json_is_refused_at_once(make: Make) -> None:
    """Where the caller can see who made it."""
    executor = make(recite())
    with pytest.raises(FrameError):
        executor.submit({"value": object()})
    with pytest.raises(FrameError):
        executor.submit([1])  # type: ignore[arg-type] # what an untyped caller may do


def test_an_output_that_is_no_json_is_the_tasks_failure(make: Make) -> None:
    """And not the executor's end."""
    executor = make(TaskSpec("support.tasks:WrongAnswer", import_paths=(TESTS_DIR,)))
    for _ in range(2):
        with pytest.raises(TaskFailed, match="not JSON"):
            executor.submit({}).result(60)


def test_a_recognised_cause_becomes_the_code(make: Make) -> None:
    """Callers decide by codes, not by words."""
    with pytest.raises(TaskFailed) as caught:
        make(recite()).submit({"do": "lose_the_gpu"}).result(60)
    assert caught.value.code == "GPU_ERROR"


def test_a_closed_executor_takes_nothing(make: Make) -> None:
    """Closing twice does no harm."""
    executor = make(recite())
    executor.submit({}).result(60)
    executor.close(5)
    executor.close(5)
    with pytest.raises(PoolClosed):
        executor.submit({})


def test_status_is_told_before_and_after_work(make: Make) -> None:
    """A page may ask at any time."""
    executor = make(recite())
    before = executor.status()
    executor.submit({}).result(60)
    after = executor.status()

    assert (before.succeeded, after.succeeded) == (0, 1)
    assert len(after.workers) == after.total == 1
    assert after.workers[0].requests == 1
