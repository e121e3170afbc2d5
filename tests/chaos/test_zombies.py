"""Whoever was robbed of a job can do nothing to it; the full number of wake-ups is run by `make chaos`."""

from __future__ import annotations

from pathlib import Path

from chaos import zombies

SEED = 20260311


def test_an_owner_that_wakes_after_a_theft_writes_nothing(tmp_path: Path) -> None:
    """Renewing, publishing and giving back all fail, and of several thieves one wins."""
    tally = zombies.run(tmp_path, SEED, jobs=40)
    assert tally.failures == 0, tally
    assert tally.wake_ups > 40
