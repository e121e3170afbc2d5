"""A batch killed again and again, from a fixed seed; the full run is `make batch-kills`."""

from __future__ import annotations

from pathlib import Path

import pytest
from durability.batch_kills import LOCKED, Killer


@pytest.mark.slow
def test_a_batch_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    """Every output is there, no kill costs more than what was in flight, and nobody works beside a run."""
    killer = Killer(tmp_path, files=300, in_flight=4, seed=11)
    killer.live(kills=7)
    assert killer.story.wrongs == []
    assert killer.story.incomplete == 0
    assert len(killer.story.lives) == 8
    assert killer.story.intruders == [LOCKED]
