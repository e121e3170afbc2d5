"""The numbers of a server for Prometheus: its jobs by state, the worker it speaks to, its process.

Names and labels stand in docs/reference/metrics.md; no job, file or person is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from runner.metrics import PREFIX
from web.protocol import Status

Counts = Callable[[], Mapping[Status, int]]
FreeSlots = Callable[[], int | None]
"""Jobs that the worker would take now; None if it does not answer."""


class JobCollector(Collector):
    """Jobs that the database knows, and what the worker would take."""

    def __init__(self, counts: Counts, free_slots: FreeSlots) -> None:
        self._counts = counts
        self._free_slots = free_slots

    def collect(self) -> Iterable[Metric]:
        """Count them now."""
        counts = self._counts()
        jobs = GaugeMetricFamily(f"{PREFIX}http_jobs", "Jobs by state.", labels=["state"])
        for status in Status:
            jobs.add_metric([status], counts.get(status, 0))
        yield jobs
        free = self._free_slots()
        name = f"{PREFIX}remote_worker"
        yield GaugeMetricFamily(f"{name}_connected", "1 if it answers.", free is not None)
        yield GaugeMetricFamily(f"{name}_free_slots", "Jobs it would take.", free or 0)

    def describe(self) -> Iterable[Metric]:
        """Register without counting."""
        return []


def server_registry(counts: Counts, free_slots: FreeSlots) -> CollectorRegistry:
    """What every server tells."""
    registry = CollectorRegistry()
    registry.register(JobCollector(counts, free_slots))
    ProcessCollector(registry=registry)
    return registry
