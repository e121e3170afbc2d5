"""The controller as a program: takes recordings and jobs, and has the worker do them. Does no work itself.

    lock ─► listen ─► dispatcher ─► … ─► TERM: stop listening, leave running jobs with the worker ─► end

Whatever it knows is in its database: it may be killed at any moment and started again.
"""

from __future__ import annotations

import logging

from runner.logs import set_up_logging
from runner.masking import Masker
from runner.signals import Signals
from web.auth import Sessions
from web.changes import Changes
from web.controller_app import ControllerApi
from web.dispatch import Dispatcher, Patience
from web.errors import BadSettings
from web.metrics import server_registry
from web.retention import Retention
from web.serving import listening, only_server
from web.settings import MEGABYTE, ControllerSettings, secret
from web.spool import Spool
from web.store import Store
from web.worker_client import WorkerClient

logger = logging.getLogger(__name__)

TURN_S = 60.0


def run(settings: ControllerSettings) -> int:
    """Serve until told to stop; returns the exit code.

    Raises:
        ServerError: it cannot begin.
    """
    worker = _worker(settings)
    token = settings.remote_worker_token
    mask = Masker([token.get_secret_value()] if token else []).mask
    set_up_logging(settings.log_level, settings.log_format, mask)
    with only_server(settings.data_dir):
        store = Store(settings.data_dir / "controller.sqlite3")
        try:
            return _serve(settings, store, worker)
        finally:
            store.close()


def _serve(settings: ControllerSettings, store: Store, worker: WorkerClient | None) -> int:
    changes = Changes()
    folder = settings.data_dir.resolve()
    results = folder / "results"
    results.mkdir(mode=0o700, exist_ok=True)
    spool = Spool(folder / "uploads", store, settings.max_file_mb * MEGABYTE)
    dispatcher = None
    if worker is not None:
        patience = Patience(
            settings.remote_worker_poll_seconds,
            settings.remote_worker_timeout_seconds,
            settings.remote_worker_queue_seconds,
        )
        dispatcher = Dispatcher(
            store, spool, worker, lambda job_id: results / f"{job_id}.json", patience, changes.note
        )
    free_slots = dispatcher.free_slots if dispatcher is not None else lambda: None
    registry = server_registry(store.count_jobs, free_slots)
    api = ControllerApi(store, spool, changes, Sessions(store), results, dispatcher, registry)
    retention = Retention(store, spool, api.result_path, settings.keep_hours)
    signals = Signals()
    with signals.installed(), listening(api.app(), settings.host, settings.port) as address:
        logger.info("ready: %s", address)
        if dispatcher is not None:
            dispatcher.start()
        while not signals.wants_stop and not signals.wants_drain:
            retention.sweep()
            signals.wait(TURN_S)
        logger.info("stopping")
        changes.end()
        if dispatcher is not None:
            dispatcher.close()
    signals.close()
    return signals.exit_code if signals.wants_end_now else 0


def _worker(settings: ControllerSettings) -> WorkerClient | None:
    """The worker that the settings name, unless remote work is off."""
    if settings.remote_worker_mode == "off":
        return None
    if settings.remote_worker_url is None:
        raise BadSettings("REMOTE_WORKER_URL is not set", "e.g. http://gpu-server:8477")
    token = secret(settings.remote_worker_token, "REMOTE_WORKER_TOKEN")
    return WorkerClient(str(settings.remote_worker_url), token)
