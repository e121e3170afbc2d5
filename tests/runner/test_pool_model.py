"""A whole pool on scripted slots, at random, against tables written down a second time from the design."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from runner.errors import PoolClosed, SlotDied, TaskFailed, TaskTimeout
from runner.frames import JsonObject
from runner.machines import Machine
from runner.peak import Peak
from runner.pool import Pool, PoolOptions
from runner.verdict import Verdict

# Not imported from the code under test: this is what the design says.
MAY_FOLLOW = {
    "spawning": "loading failed stopping",
    "loading": "idle failed stopping",
    "idle": "processing recycling failed stopping",
    "processing": "idle failed stopping",
    "recycling": "spawning failed stopping",
    "failed": "spawning stopping",
    "stopping": "terminated",
    "terminated": "spawning",
}
REQUEST_MAY_FOLLOW = {
    "queued": "assigned failed timed_out cancelled",
    "assigned": "running cancelled",
    "running": "succeeded failed timed_out cancelled queued",
}


class ScriptedSlot:
    """Ends items in every way there is, by dice; no process, no wait."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self.pid = None
        self.rss_bytes = 0
        self.peak = Peak()

    def load(self, on_spawned: Callable[[], None]) -> None:
        """Fail before or after the process is there, or work."""
        chance = self._dice.random()
        if chance < 0.05:
            raise SlotDied(Verdict.INTERNAL, "no process")
        on_spawned()
        if chance < 0.1:
            raise SlotDied(Verdict.OOM_HOST, "no room")

    def run(self, item: JsonObject, timeout_s: float) -> JsonObject:
        """Do what the dice say; a poisonous item always kills."""
        chance = self._dice.random()
        if item["is_poison"] or chance < 0.05:
            raise SlotDied(Verdict.CHILD_CRASH, "crash")
        if chance < 0.1:
            raise TaskTimeout(timeout_s)
        if chance < 0.2:
            raise TaskFailed("ValueError", "bad item")
        return {"number": item["number"]}

    def recycle_reason(self) -> str | None:
        """Now and then."""
        return "items" if self._dice.random() < 0.05 else None

    def unload(self) -> None:
        """Nothing is held."""

    def kill(self) -> None:
        """Nothing runs."""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """Every step that any machine takes, counted; a refused one is counted under its own name."""
    taken: Counter[tuple[str, str]] = Counter()
    lock = threading.Lock()
    take = Machine.to

    def counted(machine: Machine[Any], state: Any) -> None:
        before = machine.state
        with lock:
            taken[type(before).__name__ + " " + before, str(state)] += 1
        take(machine, state)

    monkeypatch.setattr(Machine, "to", counted)
    return taken


def is_legal(before: str, after: str) -> bool:
    """By the tables above."""
    kind, _, state = before.partition(" ")
    table = MAY_FOLLOW if kind == "WorkerState" else REQUEST_MAY_FOLLOW
    return after in table.get(state, "").split()


def feed(pool: Pool, dice: random.Random, count: int) -> list[tuple[int, bool, Future[JsonObject]]]:
    """Submit items, some poisonous, and cancel some."""
    submitted = []
    for number in range(count):
        is_poison = dice.random() < 0.02
        future = pool.submit({"number": number, "is_poison": is_poison})
        submitted.append((number, is_poison, future))
        if dice.random() < 0.05:
            dice.choice(submitted[-50:])[2].cancel()
    return submitted


@pytest.mark.parametrize("keep_alive_s", [-1.0, 0.0])
def test_a_pool_takes_a_hundred_thousand_random_steps_and_none_is_illegal(
    steps: Counter[tuple[str, str]], keep_alive_s: float
) -> None:
    """Every item ends exactly once, in a way that its own story explains."""
    logging.getLogger("runner").setLevel(logging.CRITICAL)
    options = PoolOptions(
        queue_limit=200,
        block_when_full=True,
        keep_alive_s=keep_alive_s,
        backoff_first_s=0.0,
        backoff_most_s=0.0,
        failures_to_disable=1000,
    )
    dice = random.Random(4)
    pool = Pool([("cpu", ScriptedSlot(seed)) for seed in range(3)], options)
    try:
        pool.initialize()
        outcomes: Counter[str] = Counter()
        while sum(steps.values()) < 100_000:
            for number, is_poison, future in feed(pool, dice, 1000):
                outcomes[outcome_of(number, future, is_poison=is_poison)] += 1
    finally:
        pool.close(5)
        logging.getLogger("runner").setLevel(logging.NOTSET)

    status = pool.status()
    assert [step for step in steps if not is_legal(*step)] == []
    assert set(outcomes) == {"output", "SlotDied", "TaskTimeout", "TaskFailed", "cancelled"}
    assert status.succeeded == outcomes["output"]
    assert status.cancelled == outcomes["cancelled"]
    assert status.timed_out == outcomes["TaskTimeout"]
    assert status.failures == outcomes["TaskFailed"] + outcomes["SlotDied"]


def outcome_of(number: int, future: Future[JsonObject], *, is_poison: bool) -> str:
    """Wait for an item and check that it got its own answer."""
    if future.cancelled():
        return "cancelled"
    error = future.exception(60)
    if error is None:
        assert future.result() == {"number": number}
        assert not is_poison
        return "output"
    assert not isinstance(error, PoolClosed)
    assert not is_poison or isinstance(error, SlotDied)
    return type(error).__name__
