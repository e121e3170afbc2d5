"""How often, how soon and how long a failed request is tried again, and when not at all.

Full jitter through tenacity, a budget that keeps many small failures from becoming a storm, and a
breaker that leaves a dead server alone. Knows no protocol: a failure is any exception of the class it
is told; one that carries `retry_after_s` is obeyed.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_any,
    stop_before_delay,
    stop_when_event_set,
    wait_random_exponential,
)
from tenacity.nap import sleep_using_event

logger = logging.getLogger(__name__)

REFILL_S = 300.0
"""After an outage a quiet worker may retry freely again by this time."""


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """Full jitter: sleep uniform(0, min(cap_s, base_s * 2^n)), within all three limits."""

    attempts: int = 6
    base_s: float = 1.0
    cap_s: float = 60.0
    total_s: float = 300.0
    budget_share: float = 0.1
    budget_burst: float = 20.0
    breaker_failures: int = 10
    breaker_open_s: tuple[float, float] = (30.0, 300.0)


def retry_options(request_s: float, rest_s: float) -> RetryOptions:
    """Limits in proportion to how long one request is tried, and to the longest rest after many failures."""
    standard = RetryOptions()
    part = request_s / standard.total_s
    return RetryOptions(
        base_s=min(standard.base_s, part * standard.base_s),
        cap_s=min(standard.cap_s, part * standard.cap_s),
        total_s=request_s,
        breaker_open_s=(rest_s / 10, rest_s),
    )


class RetryBudget:
    """A token bucket: requests and time earn retries, every retry costs one."""

    def __init__(
        self, share: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._share = share
        self._burst = burst
        self._tokens = burst
        self._clock = clock
        self._filled_at = clock()
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Count one request."""
        with self._lock:
            self._add(self._share)

    def spend(self) -> bool:
        """Take one retry out; False if there is none left."""
        with self._lock:
            now = self._clock()
            self._add(self._burst * (now - self._filled_at) / REFILL_S)
            self._filled_at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def _add(self, tokens: float) -> None:
        self._tokens = min(self._burst, self._tokens + tokens)


class Breaker:
    """Opens after many failures in a row; then lets one probe through at a time."""

    def __init__(self, options: RetryOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0
        self._lock = threading.Lock()

    def wait_s(self) -> float:
        """Seconds until a request may be tried; 0 lets this one through (as the only probe)."""
        with self._lock:
            if self._failures < self._options.breaker_failures:
                return 0.0
            left = self._open_until - self._clock()
            if left <= 0:
                self._open()
            return max(left, 0.0)

    def succeeded(self) -> None:
        """The other side answered."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """The other side did not answer, or answered that it is broken."""
        with self._lock:
            self._failures += 1
            if self._failures == self._options.breaker_failures:
                logger.warning("the server failed %d times in a row; resting", self._failures)
                self._open()

    def _open(self) -> None:
        self._open_until = self._clock() + random.uniform(*self._options.breaker_open_s)


def retrying(
    kind: type[Exception], options: RetryOptions, budget: RetryBudget, stop: threading.Event
) -> Retrying:
    """Attempts for one idempotent operation; ends at once, with the last error, when `stop` is set."""
    jitter = wait_random_exponential(multiplier=options.base_s, max=options.cap_s)

    def wait(state: RetryCallState) -> float:
        asked = getattr(_error(state), "retry_after_s", None)
        if asked is None:
            return float(jitter(state))
        return float(max(asked, jitter(state)) * random.uniform(1.0, 1.1))

    return Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, kind) and budget.spend()),
        wait=wait,
        stop=stop_any(
            stop_after_attempt(options.attempts),
            stop_before_delay(options.total_s),
            stop_when_event_set(stop),
        ),
        sleep=sleep_using_event(stop),
        before_sleep=_log_retry,
        reraise=True,
    )


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _log_retry(state: RetryCallState) -> None:
    logger.info("attempt %d failed, trying again: %s", state.attempt_number, _error(state))
