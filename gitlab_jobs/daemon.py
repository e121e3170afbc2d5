"""Wires a worker from settings: adapters, logging, signals, readiness; owns nothing else.

    settings ─► token ─► session ─► catalog ─┬─► scanner ─► Worker.run
               (or --project-dir) ───────────┘        --plan: show offers, --check: doctor

Start order: log, lock of the work directory, credential check, readiness. The exit codes are those of
`docs/reference/exit-codes.md`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from threading import Event

from gitlab_jobs.attempt import Bench
from gitlab_jobs.backoff import retry_options
from gitlab_jobs.claims import Claimant
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.devices import choose_devices
from gitlab_jobs.doctor import examine
from gitlab_jobs.errors import ConfigError, Denied, StoreError
from gitlab_jobs.gitlab_catalog import GitLabCatalog
from gitlab_jobs.gitlab_transport import TransportOptions
from gitlab_jobs.instance import only_instance
from gitlab_jobs.ledger import FILE_NAME, Ledger
from gitlab_jobs.local_store import LocalCatalog
from gitlab_jobs.metrics import metrics_served
from gitlab_jobs.readiness import SystemdReadiness
from gitlab_jobs.recovery import Recovery
from gitlab_jobs.scanner import JobScanner
from gitlab_jobs.settings import WorkerSettings, read_token
from gitlab_jobs.signal_desk import SignalDesk
from gitlab_jobs.slots import Slots
from gitlab_jobs.store import ProjectCatalog
from gitlab_jobs.telemetry import Telemetry
from gitlab_jobs.worker import Worker, WorkerParts
from runner.logs import set_up_logging
from runner.marker import kill_marked
from runner.masking import Masker
from runner.signals import Signals

logger = logging.getLogger(__name__)

CHILD_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that spin while they wait make two busy processes ten times slower than one after the other."""

EXIT_OK = 0
EXIT_UNAVAILABLE = 69
EXIT_IO_ERROR = 74
EXIT_NO_PERMISSION = 77
EXIT_DOCTOR = 82


@dataclass(frozen=True, slots=True)
class Report:
    """Lines for standard output and the exit code that goes with them."""

    lines: tuple[str, ...]
    exit_code: int


def run(settings: WorkerSettings, *, loader: str, reload: Callable[[], WorkerSettings]) -> Report:
    """Do what the settings ask for: serve, `--plan` or `--check`.

    Args:
        settings: checked settings.
        loader: "package.module:function" that finds a handler, used in the children only.
        reload: reads all sources of settings again.

    Raises:
        ConfigError: with its exit code, when started wrongly.
    """
    token = None if settings.project_dir else read_token(settings)
    masker = Masker([token] if token else [])
    set_up_logging(settings.log_level, settings.log_format, masker.mask)
    enough = Event()
    catalog = open_catalog(settings, token, enough)
    if settings.check:
        return _report_health(settings, catalog)
    try:
        account = catalog.account()
        if settings.plan:
            return _report_plan(JobScanner(catalog))
        devices = choose_devices(settings)
        with only_instance(settings.work_dir):
            reach("start.locked")
            kill_marked()
            with closing(Ledger(settings.work_dir / FILE_NAME)) as ledger:
                bench = Bench(
                    settings,
                    account.username,
                    loader,
                    masker.mask,
                    enough,
                    ledger,
                    CHILD_ENVIRONMENT,
                )
                reach("start.ready")
                slots = Slots.of(settings, devices, masker.mask)
                return _serve(bench, catalog, slots, reload)
    except Denied as error:
        raise ConfigError(str(error), exit_code=EXIT_NO_PERMISSION) from error
    except StoreError as error:
        raise ConfigError(str(error), exit_code=EXIT_UNAVAILABLE) from error
    except OSError as error:
        raise ConfigError(
            f"this machine cannot run jobs: {error}",
            hint="is the disk full, is --work-dir still there? try --check",
            exit_code=EXIT_IO_ERROR,
        ) from error


def open_catalog(settings: WorkerSettings, token: str | None, enough: Event) -> ProjectCatalog:
    """The projects of a server, or the one of a local checkout; raises `ConfigError` if neither is set."""
    if settings.project_dir is not None:
        return LocalCatalog(settings.project_dir)
    if settings.gitlab_url is None:
        raise ConfigError(
            "no GitLab server", hint="set --gitlab-url, or --project-dir for a local checkout"
        )
    return GitLabCatalog.connect(
        settings.gitlab_url,
        token or "",
        settings.work_dir.resolve() / "cache",
        stop=enough,
        options=TransportOptions(retry=retry_options(settings.request_s, settings.rest_s)),
        reload_token=lambda: read_token(settings),
    )


def _serve(
    bench: Bench, catalog: ProjectCatalog, slots: Slots, reload: Callable[[], WorkerSettings]
) -> Report:
    settings, signals, readiness = bench.settings, Signals(), SystemdReadiness()
    boot_id = secrets.token_hex(8)
    ledger = bench.ledger
    claimant = Claimant(settings.worker_id, boot_id, settings.lease_s, ledger.claiming)
    parts = WorkerParts(
        catalog,
        JobScanner(catalog, finished_here=ledger.ended),
        bench,
        slots,
        claimant,
        signals,
        readiness,
        Recovery(ledger, catalog, boot_id, bench.enough),
        Telemetry(),
        SignalDesk(
            signals,
            settings,
            reload=reload,
            show_logs=partial(set_up_logging, mask=bench.mask),
            manager=readiness,
        ),
    )
    try:
        with signals.installed(), _metrics(settings, parts):
            logger.info("worker %s is ready as %s", settings.worker_id, bench.username)
            Worker(parts).run()
    finally:
        bench.enough.set()
        signals.close()
    return Report((), signals.exit_code if signals.wants_end_now else EXIT_OK)


def _metrics(settings: WorkerSettings, parts: WorkerParts) -> AbstractContextManager[object]:
    if settings.metrics_port is None:
        return nullcontext()
    where = settings.metrics_host, settings.metrics_port
    return metrics_served(parts.telemetry, parts.slots, where)


def _report_plan(scanner: JobScanner) -> Report:
    """What the next turn would do, from reads alone."""
    offers = scanner.scan()
    lines = [
        f"would run   {c.project.path}  {c.job.job_id}  {c.job.job_type} {c.job.mode} "
        f"{c.job.model.type}{f'  ({c.job.name})' if c.job.name else ''}"
        for c in offers.candidates
    ]
    lines += [f"would cancel {c.project.path}  {c.job.job_id}" for c in offers.canceled]
    lines += [f"would refuse {b.project.path}  {b.job_id}: {b.message}" for b in offers.unreadable]
    return Report(tuple(lines) or ("nothing to do",), EXIT_OK)


def _report_health(settings: WorkerSettings, catalog: ProjectCatalog) -> Report:
    findings = examine(settings, catalog)
    worst = EXIT_DOCTOR if any(not finding.is_good for finding in findings) else EXIT_OK
    return Report(tuple(str(finding) for finding in findings), worst)
