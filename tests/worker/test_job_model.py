"""What becomes of jobs when workers do anything at any time, and what the guard before every write lets through."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from walks.jobs import MAY_FOLLOW, walk

from gitlab_jobs.job import JobState
from gitlab_jobs.response import IllegalTransition, Response, check_transition


def test_jobs_only_go_where_the_design_lets_them(tmp_path: Path) -> None:
    """And into every state; `make walks` takes a hundred thousand steps."""
    seen = walk(tmp_path, seed=17, steps=150)

    assert seen.illegal == []
    assert {after for _, after in seen.taken} == set(MAY_FOLLOW)
    assert seen.refused["AlreadyExists"] > 0


STATES = [*JobState, None]


def is_legal(old: Response | None, new: Response) -> bool:
    """By the table above, and by what a reader relies on: epochs and attempts are never lost."""
    if new.state is None:
        return False
    if old is None:
        return new.state is not JobState.COMPLETED
    if old.state is not None and old.state.is_final and new.state is not old.state:
        return False
    if old.claim == new.claim and old.epochs_completed is not None and new.epochs_completed is None:
        return False
    return (new.retry_count or 0) >= (old.retry_count or 0)


def random_response(dice: random.Random) -> Response:
    """Any that a worker could try to write."""
    return Response(
        state=dice.choice(STATES),
        claim=dice.choice("ab"),
        attempt=1,
        epochs_completed=dice.choice((None, 0, 3)),
        retry_count=dice.choice((None, 1, 2)),
    )


def test_the_guard_before_every_write_refuses_exactly_what_is_illegal() -> None:
    """A hundred thousand pairs, from pending as well."""
    dice = random.Random(5)
    seen: Counter[bool] = Counter()
    for _ in range(100_000):
        old = random_response(dice) if dice.random() < 0.8 else None
        new = random_response(dice)
        try:
            check_transition(old, new)
        except IllegalTransition:
            accepted = False
        else:
            accepted = True
        assert accepted == is_legal(old, new), (old, new)
        seen[accepted] += 1
    assert min(seen.values()) > 10_000
