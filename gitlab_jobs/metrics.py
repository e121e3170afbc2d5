"""The daemon's numbers for Prometheus, with those of its process and its GPUs; read when somebody asks.

Label values come from code and machine, never from jobs, projects or people. All names stand in
docs/reference/metrics.md. Imported only when `--metrics-port` is given.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from platform import python_version

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gitlab_jobs.errors import ConfigError
from gitlab_jobs.slots import Slots
from gitlab_jobs.telemetry import Telemetry
from runner.gpu import Gpu, inventory
from runner.metrics import PREFIX, GpuCollector, PoolCollector
from runner.metrics_server import serving

logger = logging.getLogger(__name__)


class DaemonCollector(Collector):
    """The loop: what it looks at, what it runs, how that ended."""

    def __init__(self, telemetry: Telemetry, slots: int) -> None:
        """Remember when the daemon began; `slots` is how many jobs it runs at once."""
        self._telemetry = telemetry
        self._slots = slots
        self._up_since = time.time()

    def collect(self) -> Iterable[Metric]:
        """Read the counts once and tell them metric by metric."""
        counts = self._telemetry.read()
        build = {"version": version("scriptorium"), "python": python_version()}
        yield InfoMetricFamily(f"{PREFIX}build", "What runs.", value=build)
        yield _gauge("up_since_seconds", "Unix time of the start.", self._up_since)
        yield _gauge("job_slots", "Jobs at once.", self._slots)
        yield _gauge("jobs_running", "Attempts under way.", counts.running)
        yield _gauge(
            "poll_last_success_timestamp_seconds",
            "Unix time of the last look at all projects; 0 before the first.",
            counts.last_poll_at,
        )
        polls = CounterMetricFamily(f"{PREFIX}polls", "Looks at all projects.", labels=["result"])
        for result, count in counts.polls.items():
            polls.add_metric([result], count)
        ended = CounterMetricFamily(
            f"{PREFIX}jobs", "Attempts that ended.", labels=["kind", "mode", "outcome"]
        )
        for end, count in counts.ended.items():
            ended.add_metric([end.kind, end.mode, end.outcome], count)
        yield from (polls, ended)

    def describe(self) -> Iterable[Metric]:
        """Register without asking anybody."""
        return []


@contextmanager
def metrics_served(
    telemetry: Telemetry,
    slots: Slots,
    where: tuple[str, int],
    read: Callable[[], Sequence[Gpu]] = inventory,
) -> Iterator[int]:
    """Answer scrapes inside the block.

    Args:
        telemetry: what the loop counts.
        slots: the places of jobs, told as a pool.
        where: interface and port; port 0 takes any.
        read: lists the GPUs.

    Yields:
        The port.

    Raises:
        ConfigError: the port cannot be had.
    """
    registry = CollectorRegistry()
    registry.register(DaemonCollector(telemetry, slots.limit))
    registry.register(PoolCollector(lambda: {"jobs": slots.status()}))
    registry.register(GpuCollector(read, slots.is_healthy))
    ProcessCollector(registry=registry)
    host, port = where
    with ExitStack() as stack:
        try:
            taken = stack.enter_context(serving(registry, port, host))
        except OSError as error:
            raise ConfigError(
                f"cannot serve metrics on {host}:{port}: {error}",
                hint="is another daemon there? choose another --metrics-port",
            ) from error
        logger.info("metrics on http://%s:%d/metrics", host, taken)
        yield taken


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}{name}", text, value=value)
