"""A whole pool on scripted slots, at random, against tables written down a second time from the design."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from runner.errors import PoolClosed, SlotDied, TaskFailed, TaskTimeout
from runner.frames import JsonObject
from runner.machines import Machine
from runner.peak import Peak
from runner.pool import Pool, PoolOptions
from runner.stats import PoolStatus
from runner.verdict import Verdict

Steps = Counter[tuple[str, str, str]]
"""Machine, state, next state."""

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

    def drop(self) -> None:
        """Nothing runs."""

    def kill(self) -> None:
        """Nothing runs."""


@dataclass
class Walk:
    """What was seen."""

    steps: Steps
    outcomes: Counter[str]
    status: PoolStatus

    @property
    def illegal(self) -> list[tuple[str, str, str]]:
        """Steps that the tables do not have."""
        return [step for step in self.steps if not is_legal(*step)]

    def count(self, machine: str) -> int:
        """Steps of one machine."""
        return sum(count for step, count in self.steps.items() if step[0] == machine)


def is_legal(machine: str, state: str, after: str) -> bool:
    """By the tables above."""
    table = MAY_FOLLOW if machine == "WorkerState" else REQUEST_MAY_FOLLOW
    return after in table.get(state, "").split()


@contextmanager
def counted() -> Iterator[Steps]:
    """Count every step that any machine takes; one that is refused counts, too."""
    taken: Steps = Counter()
    lock = threading.Lock()
    take = Machine.to

    def to(machine: Machine[Any], state: Any) -> None:
        before = machine.state
        with lock:
            taken[type(before).__name__, str(before), str(state)] += 1
        take(machine, state)

    logger = logging.getLogger("runner")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # what fails here fails on purpose
    try:
        with mock.patch.object(Machine, "to", to):
            yield taken
    finally:
        logger.setLevel(level)


def walk(seed: int, steps: int, keep_alive_s: float = -1.0) -> Walk:
    """Run a pool until its workers and requests have taken so many steps each."""
    options = PoolOptions(
        queue_limit=200,
        block_when_full=True,
        keep_alive_s=keep_alive_s,
        backoff_first_s=0.0,
        backoff_most_s=0.0,
        failures_to_disable=1000,
    )
    dice = random.Random(seed)
    outcomes: Counter[str] = Counter()
    with counted() as taken:
        pool = Pool(lambda _: ScriptedSlot(dice.randrange(1 << 30)), ("cpu",) * 3, options)
        found = Walk(taken, outcomes, pool.status())
        try:
            pool.initialize()
            while min(found.count("WorkerState"), found.count("RequestState")) < steps:
                pool.resize(("cpu",) * dice.randint(1, 4))
                for number, is_poison, future in feed(pool, dice, 500):
                    outcomes[outcome_of(number, future, is_poison=is_poison)] += 1
        finally:
            pool.close(5)
        return Walk(taken, outcomes, pool.status())


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
