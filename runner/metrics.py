"""Pools and GPUs as Prometheus metrics: read when somebody asks, from what `status` and the inventory tell.

    registry.register(PoolCollector(lambda: {"whisper": pool.status()}))   ─► generate_latest(registry)

Label values come from code and machine, never from items: pool names, states, outcomes, reasons, GPU ids. All names
stand in docs/reference/metrics.md. Imported only by who serves metrics; nothing else of the runner needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from runner.gpu import Gpu
from runner.histogram import BOUNDS_S, Buckets
from runner.machines import WorkerState
from runner.stats import PoolStatus
from runner.verdict import Verdict

PREFIX = "scriptorium_"
_GPU_ID_CHARS = 12
_REASONS = frozenset(
    {"items", "age", "growth", "gpu_growth", "STAGE_TIMEOUT", *Verdict.__members__}
)
"""Why workers are replaced; anything else is counted as "other"."""

Statuses = Callable[[], Mapping[str, PoolStatus]]


class PoolCollector(Collector):
    """Every pool of a process, by the name that the program gave it."""

    def __init__(self, statuses: Statuses) -> None:
        self._statuses = statuses

    def collect(self) -> Iterable[Metric]:
        """Read all pools once and tell them metric by metric."""
        pools = self._statuses()
        yield _workers(pools)
        yield from _gauges(pools)
        yield from _counters(pools)
        yield from _histograms(pools)

    def describe(self) -> Iterable[Metric]:
        """Register without asking anybody."""
        return []


class GpuCollector(Collector):
    """Every GPU of the machine, by the beginning of its UUID."""

    def __init__(
        self,
        read: Callable[[], Sequence[Gpu]],
        is_healthy: Callable[[str], bool] = lambda _uuid: True,
    ) -> None:
        self._read = read
        self._is_healthy = is_healthy

    def collect(self) -> Iterable[Metric]:
        """Take one inventory."""
        gpus = self._read()
        names = ["gpu"]
        used = GaugeMetricFamily(f"{PREFIX}gpu_memory_used_bytes", "Memory in use.", labels=names)
        total = GaugeMetricFamily(f"{PREFIX}gpu_memory_total_bytes", "Memory in all.", labels=names)
        warmth = GaugeMetricFamily(f"{PREFIX}gpu_temperature_celsius", "Core.", labels=names)
        health = GaugeMetricFamily(f"{PREFIX}gpu_healthy", "1 if work may go there.", labels=names)
        for gpu in gpus:
            label = [gpu.uuid[:_GPU_ID_CHARS]]
            used.add_metric(label, gpu.used_bytes)
            total.add_metric(label, gpu.total_bytes)
            if gpu.temperature_c is not None:
                warmth.add_metric(label, gpu.temperature_c)
            health.add_metric(label, self._is_healthy(gpu.uuid))
        return [used, total, warmth, health]

    def describe(self) -> Iterable[Metric]:
        """Register without asking anybody."""
        return []


def _workers(pools: Mapping[str, PoolStatus]) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}pool_workers", "Workers by state.", labels=["pool", "state"]
    )
    for name, status in pools.items():
        states = [worker.state for worker in status.workers]
        for state in WorkerState:
            family.add_metric([name, state.value], states.count(state.value))
    return family


def _gauges(pools: Mapping[str, PoolStatus]) -> Iterator[Metric]:
    for name, text, read in _GAUGES:
        family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=["pool"])
        for pool, status in pools.items():
            family.add_metric([pool], read(status))
        yield family


def _counters(pools: Mapping[str, PoolStatus]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        f"{PREFIX}pool_requests", "Items that ended.", labels=["pool", "result"]
    )
    replaced = CounterMetricFamily(
        f"{PREFIX}pool_replacements", "Workers replaced.", labels=["pool", "reason"]
    )
    audio = CounterMetricFamily(f"{PREFIX}audio_seconds", "Audio worked on.", labels=["pool"])
    for pool, status in pools.items():
        for result, count in _results(status).items():
            requests.add_metric([pool, result], count)
        for reason, count in _bounded(status.replacements).items():
            replaced.add_metric([pool, reason], count)
        audio.add_metric([pool], status.audio_s)
    yield from (requests, replaced, audio)


def _histograms(pools: Mapping[str, PoolStatus]) -> Iterator[Metric]:
    for name, text, read in _HISTOGRAMS:
        family = HistogramMetricFamily(f"{PREFIX}{name}", text, labels=["pool"])
        for pool, status in pools.items():
            buckets = read(status)
            bounds = [
                (str(bound), float(n)) for bound, n in zip(BOUNDS_S, buckets.at_most, strict=True)
            ]
            family.add_metric([pool], [*bounds, ("+Inf", buckets.count)], buckets.sum_s)
        yield family


def _results(status: PoolStatus) -> dict[str, int]:
    return {
        "succeeded": status.succeeded,
        "failed": status.failures,
        "timed_out": status.timed_out,
        "cancelled": status.cancelled,
    }


def _bounded(replacements: Mapping[str, int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reason, count in replacements.items():
        label = reason if reason in _REASONS else "other"
        counts[label] = counts.get(label, 0) + count
    return counts


_GAUGES: tuple[tuple[str, str, Callable[[PoolStatus], float]], ...] = (
    ("pool_queue_depth", "Items that wait.", lambda status: status.queue_depth),
    ("pool_oldest_wait_seconds", "Of the item that waits longest.", lambda s: s.oldest_wait_s),
    ("pool_utilization_ratio", "Busy time over the last minute.", lambda s: s.utilisation),
    ("pool_degraded", "1 if workers are missing.", lambda status: status.is_degraded),
)

_HISTOGRAMS: tuple[tuple[str, str, Callable[[PoolStatus], Buckets]], ...] = (
    ("pool_request_duration_seconds", "From the queue to the end.", lambda s: s.durations),
    ("pool_wait_seconds", "In the queue.", lambda status: status.waits),
    ("pool_model_load_seconds", "From the start of a process to ready.", lambda s: s.load_times),
)
