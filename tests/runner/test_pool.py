"""What becomes of a pool's items when they, or workers, misbehave: real children, real crashes."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest
from support.children import open_descriptors, until
from support.pools import QUICK, recite, warm

from runner.errors import PoolClosed, QueueFull, SlotDied, TaskFailed, TaskTimeout
from runner.executors import Site, fresh_executor
from runner.pool import PoolOptions
from runner.verdict import Verdict


def loads(diary: Path) -> int:
    """How often the task was set up, in its own words."""
    return len(diary.read_text().split())


def test_a_warm_worker_sets_up_once_for_many_items(tmp_path: Path) -> None:
    """That is what it is for."""
    diary = tmp_path / "diary"
    with warm(tmp_path, recite(diary=str(diary))) as pool:
        outputs = [pool.submit({}).result(60) for _ in range(20)]

    assert [output["count"] for output in outputs] == list(range(1, 21))
    assert len({output["pid"] for output in outputs}) == 1
    assert loads(diary) == 1


def test_a_fresh_worker_shares_nothing_between_items(tmp_path: Path) -> None:
    """Every item is the first one."""
    pool = fresh_executor(recite(), Site(tmp_path), QUICK)
    outputs = [pool.submit({}).result(60) for _ in range(3)]
    pool.close()

    assert [output["count"] for output in outputs] == [1, 1, 1]
    assert len({output["pid"] for output in outputs}) == 3


def test_workers_work_at_the_same_time(tmp_path: Path) -> None:
    """Two sleeping items do not wait for each other."""
    with warm(tmp_path, workers=2) as pool:
        until(lambda: pool.status().idle == 2)
        futures = [pool.submit({"do": "sleep", "for_s": 0.3}) for _ in range(2)]
        until(lambda: pool.status().processing == 2)
        assert len({future.result(60)["pid"] for future in futures}) == 2


def test_a_crash_brings_the_item_back_once_and_then_gives_it_up(tmp_path: Path) -> None:
    """Two processes for one item are enough."""
    diary = tmp_path / "diary"
    with warm(tmp_path, recite(diary=str(diary))) as pool:
        bad = pool.submit({"do": "crash"})
        good = pool.submit({"name": "next"})
        with pytest.raises(SlotDied) as caught:
            bad.result(60)
        assert good.result(60)["text"] == "hello next"
        status = pool.status()

    assert caught.value.verdict is Verdict.CHILD_CRASH
    assert "SIGSEGV" in caught.value.detail
    assert loads(diary) == 3
    assert status.replacements == {"CHILD_CRASH": 2}
    assert (status.succeeded, status.failures) == (1, 1)


def test_poison_never_takes_others_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A poisonous item among good ones, again and again: every good one comes back."""
    rounds = 15
    options = PoolOptions(backoff_first_s=0.01, queue_limit=1000)
    with warm(tmp_path, options=options, workers=2) as pool:
        bad = []
        good: list[Future[dict[str, Any]]] = []
        for number in range(rounds):
            bad.append(pool.submit({"do": "crash"}))
            good += [pool.submit({"name": f"{number}.{part}"}) for part in range(3)]
        texts = {future.result(90)["text"] for future in good}
        poisoned = sum(isinstance(future.exception(90), SlotDied) for future in bad)

    with capsys.disabled():
        sys.stderr.write(f"\npoison: {poisoned} of {rounds} given up, {len(texts)} others served\n")
    assert poisoned == rounds
    assert len(texts) == 3 * rounds


def test_an_item_that_is_taken_back_gives_its_worker_free(tmp_path: Path) -> None:
    """Whether it waits or runs; it is not tried again, and the next one has a process of its own."""
    with warm(tmp_path) as pool:
        endless = pool.submit({"do": "sleep", "for_s": 600})
        waiting, good = pool.submit({"do": "sleep", "for_s": 600}), pool.submit({})
        until(lambda: pool.status().processing == 1)
        pool.take_back(waiting)
        pool.take_back(endless)
        assert good.result(60)["count"] == 1
        assert waiting.cancelled()
        assert isinstance(endless.exception(60), PoolClosed)
        pool.take_back(good)
        assert pool.submit({}).result(60)["count"] == 2
        assert pool.status().cancelled == 2


def test_an_item_that_takes_too_long_is_ended_and_the_next_one_served(tmp_path: Path) -> None:
    """A timeout is no crash: it is not tried again."""
    with warm(tmp_path) as pool:
        slow = pool.submit({"do": "sleep", "for_s": 60}, timeout_s=0.2)
        good = pool.submit({})
        with pytest.raises(TaskTimeout):
            slow.result(60)
        assert good.result(60)["count"] == 1
        assert pool.status().timed_out == 1
        assert pool.status().replacements == {"STAGE_TIMEOUT": 1}


def test_the_wait_in_the_queue_has_its_own_limit(tmp_path: Path) -> None:
    """Enforced although the only worker is busy."""
    options = PoolOptions(queue_timeout_s=0.1)
    with warm(tmp_path, options=options) as pool:
        busy = pool.submit({"do": "sleep", "for_s": 1.0})
        late = pool.submit({})
        with pytest.raises(TaskTimeout, match="wait"):
            late.result(60)
        assert not busy.done()


def test_a_full_queue_refuses_or_waits_as_asked(tmp_path: Path) -> None:
    """With an estimate of when to try again."""
    with warm(tmp_path, options=PoolOptions(queue_limit=2)) as pool:
        first = pool.submit({"do": "sleep", "for_s": 0.5})
        until(first.running)
        pool.submit({})
        pool.submit({})
        with pytest.raises(QueueFull) as caught:
            pool.submit({})
        assert caught.value.retry_after_s >= 1

    options = PoolOptions(queue_limit=1, block_when_full=True)
    with warm(tmp_path, options=options) as pool:
        futures = [pool.submit({"name": str(number)}) for number in range(10)]
        assert [future.result(60)["count"] for future in futures] == list(range(1, 11))


def test_a_waiting_item_can_be_cancelled(tmp_path: Path) -> None:
    """Nobody works on it."""
    with warm(tmp_path) as pool:
        busy = pool.submit({"do": "sleep", "for_s": 0.2})
        until(busy.running)
        waiting = pool.submit({})
        assert waiting.cancel()
        assert pool.submit({}).result(60)["count"] == 2
        assert pool.status().cancelled == 1


def test_closing_waits_for_running_items_and_cancels_waiting_ones(tmp_path: Path) -> None:
    """A grace is a grace."""
    with warm(tmp_path) as pool:
        busy = pool.submit({"do": "sleep", "for_s": 0.3, "name": "last"})
        until(busy.running)
        waiting = pool.submit({})
        pool.close(30)

        assert busy.result(0)["text"] == "hello last"
        with pytest.raises(PoolClosed):
            waiting.result(0)
        with pytest.raises(PoolClosed):
            pool.submit({})


def test_closing_without_grace_ends_running_items(tmp_path: Path) -> None:
    """And leaves no process."""
    with warm(tmp_path, workers=2) as pool:
        busy = pool.submit({"do": "sleep", "for_s": 60})
        until(busy.running)
        pids = [worker.pid for worker in pool.status().workers if worker.pid]
        pool.close(0)

    with pytest.raises(PoolClosed):
        busy.result(0)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_thousand_tiny_items_leak_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Descriptors and threads are as before; print what an item costs."""
    with warm(tmp_path) as pool:
        pool.submit({}).result(60)
    threads, descriptors = threading.active_count(), open_descriptors()
    with warm(tmp_path, options=PoolOptions(queue_limit=2000)) as pool:
        begun = time.perf_counter()
        for future in [pool.submit({}) for _ in range(1000)]:
            future.result(60)
        cost_ms = time.perf_counter() - begun  # a thousand items: seconds are milliseconds each

    with capsys.disabled():
        sys.stderr.write(f"\nwarm pool: {cost_ms:.2f} ms per tiny item\n")
    until(lambda: open_descriptors() <= descriptors)
    until(lambda: threading.active_count() <= threads)


def test_a_cancelled_future_raises_as_futures_do(tmp_path: Path) -> None:
    """Callers need no second way of waiting."""
    with warm(tmp_path) as pool:
        busy = pool.submit({"do": "sleep", "for_s": 0.2})
        until(busy.running)
        waiting = pool.submit({})
        waiting.cancel()
        with pytest.raises(CancelledError):
            waiting.result(1)
        with pytest.raises(TaskFailed):
            pool.submit({"do": "fail", "name": "x"}).result(60)
