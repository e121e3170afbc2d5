"""Random kills from fixed seeds; the full run is `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest
from durability.chaos import live


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_worker_that_is_killed_again_and_again_gets_everything_done_once(
    tmp_path: Path, seed: int
) -> None:
    """Named points and any moment, with a person who types in between."""
    life = live(seed, tmp_path)
    assert life.wrongs == [], f"seed {seed}"
    assert life.kills > 0
