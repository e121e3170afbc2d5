"""People edit while a worker publishes; the full number of stories is run by `make chaos`."""

from __future__ import annotations

from pathlib import Path

from chaos import people

SEED = 20260312


def test_whatever_people_do_meanwhile_is_kept_and_the_rest_is_published(tmp_path: Path) -> None:
    """No edit is lost, nothing deleted comes back, and results are there whole or not at all."""
    tally = people.run(tmp_path, SEED, runs=40)
    assert tally.failures == 0, "\n".join(tally.broken)
    assert tally.published > 20
    assert tally.inside_commits > 40
