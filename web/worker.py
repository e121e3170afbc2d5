"""The worker as a program: listens at once, takes jobs when its model is loaded. Imports no model library.

    listen (not ready) ─► load the model ─► ready ─► … ─► TERM: no more jobs, grace for running ones ─► end

Wires and waits; what happens to a job is `web.engine`'s business.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

from batch.crew import Crew, Tasks, choose_crew
from batch.settings import BatchSettings
from runner.gpu import inventory
from runner.logs import set_up_logging
from runner.masking import Masker
from runner.metrics import GpuCollector, PoolCollector
from runner.signals import Signals
from web.auth import Bearer
from web.capacity import Capacity
from web.changes import Changes
from web.engine import Engine
from web.errors import BadSettings
from web.metrics import server_registry
from web.retention import Retention
from web.serving import listening, only_server
from web.settings import MEGABYTE, WorkerSettings, secret
from web.spool import Spool
from web.store import Store
from web.worker_app import WorkerApi

logger = logging.getLogger(__name__)

TURN_S = 60.0


def run(settings: WorkerSettings, tasks: Tasks | None = None) -> int:
    """Serve until told to stop; returns the exit code.

    Args:
        settings: the command line and the environment.
        tasks: other stages, for tests; None for the real ones.

    Raises:
        ServerError, BatchError: it cannot begin.
    """
    token = secret(settings.token, "WORKER_TOKEN")
    if len(token) < 16:
        raise BadSettings(
            "WORKER_TOKEN has fewer than 16 characters", "openssl rand -hex 32 makes one"
        )
    set_up_logging(settings.log_level, settings.log_format, Masker([token]).mask)
    with only_server(settings.data_dir):
        store = Store(settings.data_dir / "worker.sqlite3")
        try:
            return _serve(settings, store, Bearer(token), tasks)
        finally:
            store.close()


def _serve(settings: WorkerSettings, store: Store, bearer: Bearer, tasks: Tasks | None) -> int:
    changes = Changes()
    folder: Path = settings.data_dir.resolve()
    spool = Spool(folder / "uploads", store, settings.max_file_mb * MEGABYTE)
    crew = _crew(settings, tasks)
    engine = Engine(store, folder, settings.max_concurrent_jobs, crew, changes.note)
    engine.fail_interrupted()
    gpus = tuple(gpu for gpu in inventory() if gpu.uuid in crew.devices)
    capacity = Capacity(engine, settings.model, gpus, spool.max_bytes, settings.ping_public)
    api = WorkerApi(store, spool, engine, changes, capacity, bearer, _registry(store, engine))
    retention = Retention(store, spool, engine.result_path, settings.keep_hours)
    signals = Signals()
    try:
        with signals.installed(), listening(api.app(), settings.host, settings.port) as address:
            logger.info("listening on %s, loading: %s", address, crew.shown)
            engine.start()
            logger.info("ready: %s", address)
            while not signals.wants_stop and not signals.wants_drain:
                retention.sweep()
                signals.wait(TURN_S)
            _end(engine, signals, settings.grace_s)
            changes.end()
    finally:
        engine.close()
        signals.close()
    return signals.exit_code if signals.wants_end_now else 0


def _end(engine: Engine, signals: Signals, grace_s: float) -> None:
    """Let running jobs finish: as long as it takes for a drain, within the grace for a stop."""
    engine.is_draining = True
    logger.info("stopping; jobs that still run: %d", engine.active)
    begun = time.monotonic()
    while engine.active and not signals.wants_end_now:
        if signals.wants_stop and time.monotonic() - begun > grace_s:
            break
        signals.wait(0.1)


def _crew(settings: WorkerSettings, tasks: Tasks | None) -> Crew:
    """A worker is a batch whose recordings come over HTTP: the same stages, a model for each place."""
    return choose_crew(
        BatchSettings(
            model=settings.model,
            engine=settings.engine,
            precision=settings.precision,
            gpus=settings.gpus,
            diarization=settings.diarization,
            diarizer=settings.diarizer,
            threads=settings.max_concurrent_jobs,
            cache_dir=settings.cache_dir,
        ),
        tasks,
    )


def _registry(store: Store, engine: Engine) -> CollectorRegistry:
    registry = server_registry(store.count_jobs, lambda: engine.free)
    registry.register(PoolCollector(engine.statuses))
    registry.register(GpuCollector(inventory))
    return registry
