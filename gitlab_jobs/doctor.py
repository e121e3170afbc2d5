"""`--check`: everything a worker needs, looked at one by one, with a remedy for what is missing.

Reads only. Model libraries are looked for without importing them: the supervisor stays small.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gitlab_jobs.device_watch import read_troubles
from gitlab_jobs.devices import CPU, choose_devices
from gitlab_jobs.errors import ConfigError, StoreError
from gitlab_jobs.model_source import TINY
from gitlab_jobs.settings import ModelSettings, WorkerSettings
from gitlab_jobs.store import ProjectCatalog
from runner.cgroup import NoGroups, find_home
from runner.gpu import inventory

LOW_DISK_BYTES = 10 << 30
EXPIRY_WARNING = timedelta(days=14)
CHILD_LIBRARIES = {
    "asr": ("torch", "transformers", "faster_whisper", "av", "soxr", "jiwer"),
    "tts": ("torch", "av", "soxr"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    is_good: bool
    text: str
    hint: str = ""

    def __str__(self) -> str:
        """One or two lines for a terminal."""
        line = f"{'ok   ' if self.is_good else 'ERROR'}  {self.subject}: {self.text}"
        return f"{line}\n       hint: {self.hint}" if self.hint else line


def examine(settings: WorkerSettings, catalog: ProjectCatalog) -> list[Finding]:
    """Look at everything; one broken thing never hides another."""
    return [
        *_server(catalog),
        *_disk(settings.work_dir),
        *_memory(),
        *_gpus(settings),
        *_libraries(),
        *_models(settings),
    ]


def _good(subject: str, text: str) -> Finding:
    return Finding(subject, is_good=True, text=text)


def _bad(subject: str, text: str, hint: str) -> Finding:
    return Finding(subject, is_good=False, text=text, hint=hint)


def _server(catalog: ProjectCatalog) -> Iterator[Finding]:
    try:
        account = catalog.account()
        yield _good("account", f"{account.username}, scopes {', '.join(sorted(account.scopes))}")
        if account.expires_at is not None:
            soon = account.expires_at - datetime.now(UTC) < EXPIRY_WARNING
            text = f"the token expires on {account.expires_at:%Y-%m-%d}"
            yield _bad("token", text, "make a new one") if soon else _good("token", text)
        projects = sum(1 for _ in catalog.poll())
        yield _good("projects", f"{projects} to look at now")
    except ConfigError as error:
        yield _bad("server", str(error), error.hint)
    except StoreError as error:
        yield _bad("server", str(error), "see the server's status, then try again")


def _disk(work_dir: Path) -> Iterator[Finding]:
    place = next(
        path for path in (work_dir.resolve(), *work_dir.resolve().parents) if path.exists()
    )
    if not os.access(place, os.W_OK):
        yield _bad("work directory", f"{place} is not writable", "choose --work-dir")
        return
    free = shutil.disk_usage(place).free
    text = f"{work_dir}, {free / 2**30:.0f} GiB free"
    if free < LOW_DISK_BYTES:
        yield _bad("work directory", text, "free some space, or choose another --work-dir")
    else:
        yield _good("work directory", text)


def _memory() -> Iterator[Finding]:
    """Both are good; the operator should know which it is. A service may have what a shell has not."""
    try:
        place = find_home().memory
    except NoGroups as reason:
        yield _good("memory limits of jobs", f"soft when started like this: {reason}")
        return
    yield _good("memory limits of jobs", f"hard, by control groups below {place}")


def _gpus(settings: WorkerSettings) -> Iterator[Finding]:
    found = inventory()
    for gpu in found:
        yield _good("GPU", f"{gpu.name}, {gpu.free_bytes / 2**30:.0f} GiB free")
    for name, reason in read_troubles(settings.work_dir).items():
        hint = "see `nvidia-smi -q`; the daemon uses it again after three good probes, ten minutes apart"
        yield _bad("GPU", f"{name} is left alone by the daemon: {reason}", hint)
    try:
        devices = choose_devices(settings)
    except ConfigError as error:
        yield _bad("devices", str(error), error.hint)
        return
    jobs = settings.max_concurrent_jobs or len(devices)
    if found and devices != (CPU,):
        yield _good("devices", f"{len(devices)} GPUs for {jobs} jobs at once")
    else:
        yield _good("devices", f"the CPU, which is slow for training, for {jobs} jobs at once")


def _libraries() -> Iterator[Finding]:
    for extra, modules in CHILD_LIBRARIES.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        subject, install = f"libraries for {extra}", f"pip install -c constraints.txt '.[{extra}]'"
        if missing:
            yield _bad(subject, f"missing {', '.join(missing)}", install)
        else:
            yield _good(subject, "installed")


def _models(settings: WorkerSettings) -> Iterator[Finding]:
    families: dict[str, ModelSettings] = {
        name: getattr(settings.models, name) for name in type(settings.models).model_fields
    }
    for family, model in families.items():
        path = Path(model.base).expanduser()
        if model.base == TINY:
            yield _good(f"model {family}", "tiny, from scratch (for trying things out)")
        elif path.exists():
            yield _good(f"model {family}", str(path))
        elif path.is_absolute():
            yield _bad(f"model {family}", f"{path} does not exist", f"set models.{family}.base")
        else:
            yield _good(f"model {family}", f"{model.base}, fetched from the hub when needed")
