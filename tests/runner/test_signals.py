"""Real signals to this very process, and what the main loop learns from them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from runner.signals import Signals


@pytest.fixture
def signals() -> Iterator[Signals]:
    """Signal handlers as a daemon has them, taken back afterwards."""
    received = Signals()
    with received.installed():
        yield received
    received.close()


def test_nothing_is_wanted_until_somebody_asks(signals: Signals) -> None:
    """And waiting ends with its time."""
    signals.wait(0.001)

    assert not any([signals.wants_stop, signals.wants_drain, signals.wants_end_now])
    assert signals.exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_asks_to_stop_and_the_second_to_end_now(
    signals: Signals, number: signal.Signals
) -> None:
    """The exit code tells which signal it was."""
    os.kill(os.getpid(), number)
    assert (signals.wants_stop, signals.wants_end_now) == (True, False)

    os.kill(os.getpid(), number)
    assert signals.wants_end_now
    assert signals.exit_code == 128 + number


def test_quit_asks_to_drain(signals: Signals) -> None:
    """What runs may finish."""
    os.kill(os.getpid(), signal.SIGQUIT)

    assert (signals.wants_drain, signals.wants_stop) == (True, False)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_one_shot_requests_are_taken_once(signals: Signals, number: signal.Signals) -> None:
    """However often they came."""
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)

    assert signals.take(number)
    assert not signals.take(number)


def test_a_signal_ends_a_long_wait(signals: Signals) -> None:
    """The handler wakes the loop; Python alone would go on sleeping."""
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    begun = time.monotonic()

    signals.wait(60)

    assert time.monotonic() - begun < 30
    assert signals.take(signal.SIGUSR1)


def test_wake_ends_a_wait_from_another_thread_and_only_one(signals: Signals) -> None:
    """Many wake-ups before a wait are one."""
    for _ in range(100_000):
        signals.wake()
    signals.wait(60)
    begun = time.monotonic()
    signals.wait(0.05)
    assert time.monotonic() - begun >= 0.04


def test_handlers_are_taken_back() -> None:
    """A library user gets the own handlers back."""
    before = signal.getsignal(signal.SIGTERM)
    received = Signals()
    with received.installed():
        assert signal.getsignal(signal.SIGTERM) is not before
    received.close()
    assert signal.getsignal(signal.SIGTERM) is before
