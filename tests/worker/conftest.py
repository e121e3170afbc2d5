"""A GitLab with one empty project, for tests of the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.job_world import JobWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[JobWorld]:
    """One project, bible/demo, where translator and worker are members."""
    with JobWorld(tmp_path) as world:
        yield world
