"""How often a lease is renewed: at once on news, on time without, and never more than 12 an hour."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gitlab_jobs.heartbeat import Pace

DAY_S = 24 * 3600
HOUR_S = 3600


def renewals(
    pace: Pace, *, stage_every_s: float, look_every_s: float = 30, saves_from_s: float = DAY_S
) -> list[float]:
    """When renewals happen in a day of work whose stage changes this often, and which is saved every hour."""
    times: list[float] = []
    shown = 0
    now_s = 0.0
    while now_s < DAY_S:
        if now_s >= saves_from_s:
            saves_from_s += HOUR_S
            pace.spend(now_s)
            times.append(now_s)
        stage = int(now_s // stage_every_s)
        if pace.is_due(now_s, stage_changed=stage != shown):
            pace.spend(now_s)
            times.append(now_s)
            shown = stage
        now_s += look_every_s
    return times


@pytest.mark.parametrize("stage_every_s", [1, 60, 61, 299, 301, 1000, 7200])
def test_no_hour_of_a_day_has_more_than_twelve_renewals(stage_every_s: float) -> None:
    """Whatever the stages do, in any hour and not only in whole ones."""
    times = renewals(Pace(300, 0), stage_every_s=stage_every_s)
    for start in times:
        assert sum(start <= at < start + HOUR_S for at in times) <= 12


@pytest.mark.parametrize("saves_from_s", [HOUR_S, 1.25 * HOUR_S, 1.9 * HOUR_S])
@pytest.mark.parametrize("stage_every_s", [1, 61, 299, 1000])
def test_saves_are_among_the_twelve(stage_every_s: float, saves_from_s: float) -> None:
    """They come when they are due and renew the lease; so fewer renewals follow."""
    times = renewals(Pace(300, 0), stage_every_s=stage_every_s, saves_from_s=saves_from_s)
    for start in times:
        assert sum(start <= at < start + HOUR_S for at in times) <= 12


@pytest.mark.parametrize("stage_every_s", [60, 1000, DAY_S * 2])
def test_a_lease_of_half_an_hour_is_never_near_its_end(stage_every_s: float) -> None:
    """The gaps stay far below 1,800 s, so that two renewals may fail."""
    times = [0.0, *renewals(Pace(300, 0), stage_every_s=stage_every_s), DAY_S]
    assert max(b - a for a, b in pairwise(times)) <= 600


def test_the_first_stages_are_shown_soon() -> None:
    """A minute apart at least, and without waiting for the five minutes."""
    pace = Pace(300, 0)
    assert not pace.is_due(30, stage_changed=True)
    assert pace.is_due(60, stage_changed=True)
    pace.spend(60)
    assert not pace.is_due(100, stage_changed=True)
    assert pace.is_due(120, stage_changed=True)


def test_without_news_it_keeps_its_time() -> None:
    """Not before the heartbeat is due."""
    pace = Pace(300, 0)
    assert not pace.is_due(299, stage_changed=False)
    assert pace.is_due(300, stage_changed=False)


def test_a_renewal_that_failed_is_due_again_at_once() -> None:
    """Nothing is spent on what did not happen."""
    pace = Pace(300, 0)
    assert pace.is_due(300, stage_changed=False)
    assert pace.is_due(301, stage_changed=False)
