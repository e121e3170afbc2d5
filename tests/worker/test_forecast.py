"""When a training will be over, as the user is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gitlab_jobs.forecast import Forecast

START = datetime(2026, 3, 10, 8, 0, tzinfo=UTC)


def after(minutes: float) -> datetime:
    """A moment after the start."""
    return START + timedelta(minutes=minutes)


def test_the_pace_so_far_tells_the_end() -> None:
    """Two epochs in twenty minutes: eight more take eighty."""
    forecast = Forecast(10)
    for epoch, minutes in enumerate((0, 8, 20)):
        forecast.note(epoch, after(minutes))
    assert forecast.end == after(100)


def test_messages_within_an_epoch_do_not_move_it() -> None:
    """The same number again is no news."""
    forecast = Forecast(10)
    for epoch, minutes in ((0, 0), (1, 10), (1, 14), (1, 19)):
        forecast.note(epoch, after(minutes))
    assert forecast.end == after(100)


def test_a_resumed_training_counts_from_where_it_goes_on() -> None:
    """What another box did before says nothing about this one."""
    forecast = Forecast(10)
    forecast.note(6, after(0))
    assert forecast.end is None
    forecast.note(7, after(5))
    assert forecast.end == after(20)


def test_a_training_that_starts_again_is_counted_anew() -> None:
    """From the beginning, after a state that could not be used."""
    forecast = Forecast(4)
    for epoch, minutes in ((3, 0), (0, 10), (1, 20)):
        forecast.note(epoch, after(minutes))
    assert forecast.end == after(50)


def test_nothing_is_foretold_of_a_job_without_epochs() -> None:
    """It has no end that could be counted."""
    forecast = Forecast(None)
    forecast.note(1, after(0))
    forecast.note(2, after(1))
    assert forecast.end is None
