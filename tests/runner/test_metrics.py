"""Statistics as Prometheus reads them: real pools, the library's own parser."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.children import TESTS_DIR
from support.nvml import LAPTOP, RecordedNvml

from gitlab_jobs.job import Job
from gitlab_jobs.metrics import DaemonCollector
from gitlab_jobs.telemetry import BROKE, Telemetry
from runner.errors import SlotDied, TaskFailed
from runner.executors import Site, warm_executor
from runner.gpu import inventory
from runner.gpu_care import GpuCare
from runner.histogram import BOUNDS_S, Histogram
from runner.inline import InlineExecutor
from runner.metrics import GpuCollector, PoolCollector
from runner.pool import PoolOptions
from runner.stats import PoolStatus
from runner.task import TaskSpec
from web.metrics import JobCollector

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
JOB: dict[str, Any] = {
    "job_id": "1",
    "job_type": "asr",
    "mode": "training",
    "model": {"type": "Whisper"},
}
REFERENCE = TESTS_DIR.parent / "docs" / "reference" / "metrics.md"


def read(registry: CollectorRegistry) -> Samples:
    """What a scrape sees."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def status(tmp_path_factory: pytest.TempPathFactory) -> PoolStatus:
    """A pool that has seen good, bad and deadly items."""
    task = TaskSpec("support.tasks:Recite", import_paths=(TESTS_DIR,))
    options = PoolOptions(backoff_first_s=0.01)
    pool = warm_executor(task, Site(tmp_path_factory.mktemp("pool")), options)
    for _ in range(3):
        pool.submit({}, audio_s=2.5).result(60)
    with pytest.raises(TaskFailed):
        pool.submit({"do": "fail", "name": "x"}).result(60)
    with pytest.raises(SlotDied):
        pool.submit({"do": "crash"}).result(60)
    pool.close()
    return pool.status()


def scrape(status: PoolStatus) -> Samples:
    """One pool, by the name of its model."""
    registry = CollectorRegistry()
    registry.register(PoolCollector(lambda: {"whisper": status}))
    return read(registry)


def test_a_pools_work_is_counted(status: PoolStatus) -> None:
    """By result, by reason, in seconds of audio."""
    samples = scrape(status)
    pool = ("pool", "whisper")

    requests = "scriptorium_pool_requests_total"
    assert samples[requests, (pool, ("result", "succeeded"))] == 3
    assert samples[requests, (pool, ("result", "failed"))] == 2
    assert samples[requests, (pool, ("result", "timed_out"))] == 0
    reason = ("reason", "CHILD_CRASH")
    assert samples["scriptorium_pool_replacements_total", (pool, reason)] == 2
    assert samples["scriptorium_audio_seconds_total", (pool,)] == 7.5
    assert samples["scriptorium_pool_workers", (pool, ("state", "terminated"))] == 1
    assert samples["scriptorium_pool_workers", (pool, ("state", "idle"))] == 0
    assert samples["scriptorium_pool_degraded", (pool,)] == 0
    assert samples["scriptorium_pool_model_load_seconds_count", (pool,)] >= 2


@pytest.mark.parametrize("name", ["request_duration", "wait", "model_load"])
def test_histograms_are_cumulative_and_end_in_all(status: PoolStatus, name: str) -> None:
    """As Prometheus wants them."""
    samples, metric = scrape(status), f"scriptorium_pool_{name}_seconds"
    counts = [
        samples[f"{metric}_bucket", (("le", bound), ("pool", "whisper"))]
        for bound in [*map(str, BOUNDS_S), "+Inf"]
    ]

    assert counts == sorted(counts)
    assert counts[-1] == samples[f"{metric}_count", (("pool", "whisper"),)] > 0
    assert samples[f"{metric}_sum", (("pool", "whisper"),)] > 0


def test_a_duration_on_a_bound_is_within_it() -> None:
    """As "le" says: less or equal."""
    histogram = Histogram()
    for duration_s in (0.01, 0.010001, 99999.0):
        histogram.observe(duration_s)

    buckets = histogram.read()
    assert buckets.at_most[:2] == (1, 2)
    assert (buckets.at_most[-1], buckets.count) == (2, 3)


def test_reasons_that_nobody_foresaw_share_one_label() -> None:
    """A task's own codes must not make new series."""
    executor = InlineExecutor(TaskSpec("support.tasks:Recite", import_paths=(TESTS_DIR,)))
    executor.submit({})
    status = executor.status()
    status.replacements.update({"MY_CODE_1": 1, "MY_CODE_2": 2})

    samples = scrape(status)
    found = {labels: n for (name, labels), n in samples.items() if "replacements_total" in name}
    assert found == {(("pool", "whisper"), ("reason", "other")): 3}


def test_gpus_are_told_with_their_health() -> None:
    """A quarantined one stays visible, as not healthy."""
    machine = RecordedNvml(
        [LAPTOP, LAPTOP | {"uuid": "GPU-bbbb-cccc-dddd-eeee", "temperature": 61}]
    )
    care = GpuCare()
    care.quarantine("GPU-aaaa", "memory did not come back", now=0.0)
    registry = CollectorRegistry()
    registry.register(GpuCollector(lambda: inventory(machine), care.is_usable))

    samples = read(registry)
    sick, well = (("gpu", "GPU-aaaa"),), (("gpu", "GPU-bbbb-ccc"),)
    assert (samples["scriptorium_gpu_healthy", sick], samples["scriptorium_gpu_healthy", well]) == (
        0,
        1,
    )
    assert samples["scriptorium_gpu_memory_total_bytes", sick] == LAPTOP["total"]
    assert samples["scriptorium_gpu_temperature_celsius", well] == 61
    assert ("scriptorium_gpu_temperature_celsius", sick) not in samples


def test_every_metric_is_documented_and_every_documented_one_exists(status: PoolStatus) -> None:
    """With the labels it really has."""
    registry = CollectorRegistry()
    registry.register(PoolCollector(lambda: {"whisper": status}))
    machine = RecordedNvml([LAPTOP | {"temperature": 40}])
    registry.register(GpuCollector(lambda: inventory(machine)))
    telemetry = Telemetry()
    telemetry.note_start()
    telemetry.note_end(Job(**JOB), BROKE)
    registry.register(DaemonCollector(telemetry, slots=1))
    registry.register(JobCollector(lambda: {}, lambda: None))
    real = {}
    for name, labels in read(registry):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        real[base] = {key for key, _ in labels} - {"le"}

    rows = re.findall(r"^\| `(\w+)` \| \w+ \| ([\w, –]+) \|", REFERENCE.read_text(), re.M)
    assert {name: set(labels.split(", ")) - {"–"} for name, labels in rows} == real
