"""Two workers never own one job; the full number of races is run by `make chaos`."""

from __future__ import annotations

from pathlib import Path

from chaos import races

SEED = 20260310


def test_of_all_who_claim_one_job_at_once_one_owns_it(tmp_path: Path) -> None:
    """Also if the winner never hears that it won."""
    tally = races.run(tmp_path, SEED, races=250, workers=20)
    assert tally.failures == 0, tally
    assert tally.replies_lost > 5
    assert max(races.sizes(races.plan(SEED, 250, 20))) == 20
