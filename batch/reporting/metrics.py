"""The numbers of a running batch for Prometheus: its pools, its GPUs, its process.

Names and labels stand in docs/reference/metrics.md; no file's name is among them. Nothing listens unless
`--metrics-port` is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from batch.errors import CannotRun
from batch.settings import BatchSettings
from runner.gpu import inventory
from runner.metrics import GpuCollector, PoolCollector, Statuses
from runner.metrics_server import serving


@contextmanager
def metrics_served(settings: BatchSettings, statuses: Statuses) -> Iterator[str | None]:
    """Answer scrapes inside the block; yields the address, or None if nobody wants one.

    Raises:
        CannotRun: the port cannot be had.
    """
    if settings.metrics_port is None:
        yield None
        return
    registry = CollectorRegistry()
    registry.register(PoolCollector(statuses))
    registry.register(GpuCollector(inventory))
    ProcessCollector(registry=registry)
    host = settings.metrics_host
    with ExitStack() as stack:
        try:
            port = stack.enter_context(serving(registry, settings.metrics_port, host))
        except OSError as error:
            raise CannotRun(
                f"cannot serve metrics on {host}:{settings.metrics_port}: {error}",
                "choose another --metrics-port",
            ) from error
        yield f"http://{host}:{port}/metrics"
