"""What the pool does when an actor on a Ray cluster misbehaves, as it does for children of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.children import TESTS_DIR, until

from runner.errors import PoolClosed, SlotDied, TaskTimeout
from runner.pool import Pool, PoolOptions
from runner.slot import Recycle
from runner.task import TaskSpec
from runner.verdict import Verdict

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_connection")]


@contextmanager
def on_ray(name: str = "Recite", recycle: Recycle | None = None, **options: Any) -> Iterator[Pool]:
    """A pool of one actor that is closed afterwards."""
    from runner.ray_slot import RaySite, ray_executor

    task = TaskSpec(f"support.tasks:{name}", options, import_paths=(TESTS_DIR,))
    quick = PoolOptions(backoff_first_s=0.02, backoff_most_s=0.05)
    pool = ray_executor(task, RaySite(recycle=recycle or Recycle()), quick)
    try:
        yield pool
    finally:
        pool.close(0)


def test_a_crash_brings_the_item_back_once_and_then_gives_it_up(tmp_path: Path) -> None:
    """Two actors for one item are enough; the next item is served."""
    diary = tmp_path / "diary"
    with on_ray(diary=str(diary)) as pool:
        bad = pool.submit({"do": "crash"})
        good = pool.submit({"name": "next"})
        with pytest.raises(SlotDied) as caught:
            bad.result(60)
        assert good.result(60)["text"] == "hello next"
        assert pool.status().replacements == {"CHILD_CRASH": 2}

    assert caught.value.verdict is Verdict.CHILD_CRASH
    assert len(diary.read_text().split()) == 3


def test_an_item_that_takes_too_long_is_ended_with_its_process() -> None:
    """The next one is served by another."""
    with on_ray() as pool:
        first = pool.submit({}).result(60)
        slow = pool.submit({"do": "sleep", "for_s": 600}, timeout_s=0.3)
        with pytest.raises(TaskTimeout):
            slow.result(60)
        assert pool.submit({}).result(60)["count"] == 1
        until(lambda: not psutil.pid_exists(first["pid"]))


def test_closing_ends_what_runs_and_cancels_what_waits() -> None:
    """No process of the task stays on the cluster."""
    with on_ray() as pool:
        pid = pool.submit({}).result(60)["pid"]
        running = pool.submit({"do": "sleep", "for_s": 600})
        until(lambda: pool.status().processing == 1)
        waiting = pool.submit({})
        pool.close(0)
        for future in (running, waiting):
            with pytest.raises(PoolClosed):
                future.result(60)
        until(lambda: not psutil.pid_exists(pid))


def test_a_task_that_cannot_be_set_up_says_why_at_once() -> None:
    """In the words of the task."""
    with pytest.raises(PoolClosed, match="no weights at /models/x"), on_ray("CannotLoad"):
        pass


def test_an_actor_is_replaced_when_it_has_done_enough() -> None:
    """As any warm worker is."""
    with on_ray(recycle=Recycle(max_items=2)) as pool:
        outputs = [pool.submit({}).result(60) for _ in range(4)]
        assert [output["count"] for output in outputs] == [1, 2, 1, 2]
        assert pool.status().workers[0].peak.host_bytes > 0


def test_signals_stay_with_the_program() -> None:
    """Ray would end it at the first TERM, and the batch wants to finish its files."""
    handler = signal.getsignal(signal.SIGTERM)
    assert "ray" not in getattr(handler, "__module__", "")


def test_what_a_node_does_not_see_is_named(tmp_path: Path) -> None:
    """Before any work is sent there."""
    from runner.ray_cluster import nodes, unseen

    (tmp_path / "seen").mkdir()
    (node,) = nodes()
    assert unseen([tmp_path / "seen"], tmp_path) == {}
    assert unseen([tmp_path / "seen", tmp_path / "absent"], tmp_path) == {
        node.name: [str(tmp_path / "absent")]
    }
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]
