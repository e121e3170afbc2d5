"""When to stop asking a server that fails."""

from __future__ import annotations

import threading

import pytest

from gitlab_jobs.backoff import Breaker, RetryBudget, RetryOptions, retrying


class Fails(Exception):
    """Something worth another attempt."""


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_probe_through() -> None:
    """A dead server is left alone, but not given up."""
    clock = Clock()
    breaker = Breaker(RetryOptions(breaker_failures=3, breaker_open_s=(30, 30)), clock)
    for _ in range(2):
        breaker.failed()
    breaker.succeeded()
    for _ in range(2):
        breaker.failed()
    assert breaker.wait_s() == 0
    breaker.failed()
    assert breaker.wait_s() == 30
    clock.now += 31
    assert breaker.wait_s() == 0
    assert breaker.wait_s() == 30
    breaker.succeeded()
    assert breaker.wait_s() == 0


def test_a_budget_ends_a_storm_of_retries() -> None:
    """Ten ordinary requests earn one retry, and time makes good for the rest."""
    clock = Clock()
    budget = RetryBudget(share=0.1, burst=2, clock=clock)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    for _ in range(11):
        budget.earn()
    assert [budget.spend() for _ in range(2)] == [True, False]
    clock.now += 3600
    assert [budget.spend() for _ in range(3)] == [True, True, False]


def test_attempts_end_with_the_last_error_when_the_budget_is_empty() -> None:
    """Not with a message about retrying."""
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise Fails(f"failure {len(calls)}")

    options = RetryOptions(attempts=10, base_s=0.001, cap_s=0.001)
    attempts = retrying(Fails, options, RetryBudget(0, 3), threading.Event())
    with pytest.raises(Fails, match="failure 4"):
        attempts(fail)


def test_an_error_of_another_kind_is_not_tried_again() -> None:
    """Only what may pass."""
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise ValueError

    attempts = retrying(Fails, RetryOptions(), RetryBudget(0, 9), threading.Event())
    with pytest.raises(ValueError):
        attempts(fail)
    assert len(calls) == 1


def test_a_wait_longer_than_the_time_there_is_is_not_begun() -> None:
    """An hour's `Retry-After` within a minute's patience ends at once."""

    class Later(Fails):
        retry_after_s = 3600.0

    def fail() -> None:
        raise Later

    attempts = retrying(Fails, RetryOptions(total_s=60), RetryBudget(0, 9), threading.Event())
    with pytest.raises(Later):
        attempts(fail)
