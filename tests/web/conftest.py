"""What all tests of the servers use."""

from __future__ import annotations

import pytest
from support.web_servers import farm_in


@pytest.fixture
def farm(tmp_path):
    """A worker and a controller, not started yet."""
    with farm_in(tmp_path) as made:
        yield made
