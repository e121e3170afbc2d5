"""What is tried when a GPU is too small: every rung in its turn, nothing silently, and remembered."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from support.children import TESTS_DIR

from runner.errors import TaskFailed
from runner.executors import Site, warm_executor
from runner.oom_plan import MemoryPlan, OomPlanner, OomRules, OomRung
from runner.plan_store import PlanStore
from runner.pool import Pool, PoolOptions
from runner.task import TaskSpec

ALL = OomRules(
    can_split=True,
    can_halve=True,
    can_checkpoint=True,
    safe_precisions=("bfloat16", "float16"),
    length_caps_s=(20.0, 10.0),
    allows_cpu=True,
)


def test_the_rungs_come_in_their_order_and_keep_what_earlier_ones_changed() -> None:
    """From the cheapest to the one that loses data, and the CPU last."""
    planner = OomPlanner(ALL, MemoryPlan(batch=5))
    seen = []
    while (plan := planner.step("full")) is not None:
        seen.append(
            (planner.rung, plan.batch, plan.accumulation, plan.precision, plan.max_length_s)
        )

    assert seen == [
        (OomRung.RETRY, 5, 1, "float32", None),
        (OomRung.SPLIT, 5, 1, "float32", None),
        (OomRung.HALVE, 2, 3, "float32", None),
        (OomRung.HALVE, 1, 6, "float32", None),
        (OomRung.CHECKPOINT, 1, 6, "float32", None),
        (OomRung.PRECISION, 1, 6, "bfloat16", None),
        (OomRung.CAP, 1, 6, "bfloat16", 20.0),
        (OomRung.CAP, 1, 6, "bfloat16", 10.0),
        (OomRung.CPU, 1, 6, "bfloat16", 10.0),
    ]
    assert len(planner.tries) == 10
    assert "batch 1, bfloat16 on cpu" in planner.table()
    with pytest.raises(ValueError, match="nothing is left"):
        planner.step("full")


def test_a_task_that_can_do_nothing_is_tried_once_more_and_given_up() -> None:
    """An emptied cache may have been enough."""
    planner = OomPlanner(OomRules(), MemoryPlan(batch=8))

    assert planner.step("full") == MemoryPlan(batch=8)
    assert planner.step("full") is None
    assert planner.is_over


def random_rules(dice: random.Random) -> OomRules:
    """Any task on any machine."""
    return OomRules(
        can_split=dice.random() < 0.5,
        can_halve=dice.random() < 0.5,
        can_checkpoint=dice.random() < 0.5,
        safe_precisions=tuple(dice.sample(["bfloat16", "float16"], dice.randint(0, 2))),
        length_caps_s=tuple(sorted(dice.sample([5.0, 10.0, 20.0, 30.0], dice.randint(0, 4)))[::-1]),
        allows_cpu=dice.random() < 0.5,
    )


def random_plan(dice: random.Random) -> MemoryPlan:
    """Any beginning, remembered ones included."""
    return MemoryPlan(
        batch=dice.randint(1, 64),
        accumulation=dice.randint(1, 8),
        is_split=dice.random() < 0.3,
        checkpoints_activations=dice.random() < 0.3,
        precision=dice.choice(["float32", "bfloat16"]),
        max_length_s=dice.choice([None, 30.0, 10.0]),
    )


def check_step(rules: OomRules, before: MemoryPlan, after: MemoryPlan) -> None:
    """No plan asks for more memory, less data than allowed, or what the rules forbid."""
    assert 1 <= after.batch <= before.batch
    assert after.batch * after.accumulation >= before.batch * before.accumulation
    assert after.batch == before.batch or rules.can_halve
    assert after.is_split == before.is_split or rules.can_split
    assert after.checkpoints_activations == before.checkpoints_activations or rules.can_checkpoint
    assert after.precision == before.precision or after.precision in rules.safe_precisions
    assert after.max_length_s == before.max_length_s or after.max_length_s in rules.length_caps_s
    assert (after.max_length_s or 1e9) <= (before.max_length_s or 1e9)
    assert after.device == before.device or rules.allows_cpu


def test_a_hundred_thousand_random_steps_go_down_and_end() -> None:
    """Whatever the task can do and wherever it begins."""
    dice = random.Random(22)
    order = list(OomRung)
    steps = 0
    while steps < 100_000:
        rules, start = random_rules(dice), random_plan(dice)
        planner, plan, rung = OomPlanner(rules, start), start, OomRung.START
        while (following := planner.step("full")) is not None:
            check_step(rules, plan, following)
            assert order.index(planner.rung) >= order.index(rung)
            assert following != plan or planner.rung is OomRung.RETRY
            plan, rung = following, planner.rung
            steps += 1
        assert len(planner.tries) <= 1 + 1 + 1 + 6 + 1 + 1 + 4 + 1


@contextmanager
def greedy(tmp_path: Path, gpu_units: int, rules: OomRules = ALL) -> Iterator[Pool]:
    """A real warm child whose GPU has so many units."""
    plans = str(tmp_path / "plans.json")
    options = {"gpu_units": gpu_units, "rules": asdict(rules), "plans": plans}
    task = TaskSpec("support.tasks:Greedy", options, import_paths=(TESTS_DIR,))
    pool = warm_executor(task, Site(tmp_path / "pool"), PoolOptions(backoff_first_s=0.01))
    try:
        yield pool
    finally:
        pool.close(0)


def run(pool: Pool, **item: Any) -> dict[str, Any]:
    """Run one item."""
    return pool.submit(item).result(60)


def rungs(output: dict[str, Any]) -> list[str]:
    """What was tried in vain."""
    return [attempt["rung"] for attempt in output["memory"]["tries"]]


def test_an_item_that_fits_is_run_once(tmp_path: Path) -> None:
    """And nothing is told or remembered."""
    with greedy(tmp_path, 100) as pool:
        assert run(pool, units=10) == {"units": 80, "memory": {}}
    assert not (tmp_path / "plans.json").exists()


def test_what_helped_is_told_and_the_next_item_begins_there(tmp_path: Path) -> None:
    """In this process and in the next one; a process that is told so begins there, too."""
    with greedy(tmp_path, 20) as pool:
        first, second = run(pool, units=10), run(pool, units=10)
    with greedy(tmp_path, 20) as pool:
        third = run(pool, units=10)

    assert rungs(first) == ["start", "retry", "split"]
    plan = first["memory"]["plan"]
    assert (plan["is_split"], plan["batch"], plan["accumulation"]) == (True, 4, 2)
    assert "40.00 MiB" in first["memory"]["tries"][2]["detail"]
    assert second == third == {"units": 20, "memory": {"plan": plan, "tries": []}}


def test_an_item_that_nothing_saves_fails_with_the_table_of_tries(tmp_path: Path) -> None:
    """Its code says what it was; the next item is none the worse, in a fresh process."""
    with greedy(tmp_path, 3, OomRules(can_halve=True)) as pool:
        with pytest.raises(TaskFailed, match=r"halve \(batch 1, float32 on cuda\)") as caught:
            run(pool, units=10)
        assert caught.value.code == "OOM_GPU"
        assert run(pool, units=0)["units"] == 0
        assert pool.status().replacements == {"OOM_GPU": 1}


def test_other_failures_are_not_tried_again(tmp_path: Path) -> None:
    """Less memory does not mend a broken file."""
    with greedy(tmp_path, 100) as pool:
        with pytest.raises(TaskFailed, match="no audio") as caught:
            run(pool, units=1, other="no audio")
        assert caught.value.code != "OOM_GPU"
        assert run(pool, units=1)["memory"] == {}


def test_a_damaged_memory_of_plans_is_started_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One more detour is all it costs."""
    path = tmp_path / "plans.json"
    path.write_text('{"x": {"batch": 2, "colour": "red"}}')

    assert PlanStore(path).plan("x") is None
    assert "anew" in caplog.text
