"""A cluster for the executor that needs one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_connection() -> Iterator[str]:
    """This process is connected to a small Ray cluster; its address."""
    from support.ray_cluster import ray_cluster  # most tests never load Ray

    with ray_cluster() as address:
        from runner.ray_cluster import connected

        with connected(address):
            yield address
