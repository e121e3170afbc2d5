"""The environment of a child: built from an allow-list, never copied, and marked as ours.

The marker lets a later start find what an earlier one left behind. Knows no secrets: it cannot pass on
what it does not list.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runner.limits import Limits

MARKER = "SCRIPTORIUM_CHILD"
_PASSED_ON = ("PATH", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR")
_SWEEP_S = 5.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Marker:
    """Names one child of one supervisor, in the environment of its whole tree."""

    supervisor: str
    """Process id and start time: a process id alone may be somebody else's by now."""
    child_id: str

    @classmethod
    def new(cls) -> Marker:
        """Mark a child of the calling process."""
        return cls(f"{os.getpid()}@{_start_ticks(os.getpid())}", uuid.uuid4().hex)

    def __str__(self) -> str:
        return f"{self.supervisor}:{self.child_id}"


def child_environment(
    work_dir: Path, device: str, limits: Limits, extra: Mapping[str, str], marker: Marker
) -> dict[str, str]:
    """Build the whole environment; `extra` wins over everything but the marker and the device."""
    home, temporary = work_dir / ".home", work_dir / ".tmp"
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "MPLCONFIGDIR": str(home / ".config"),
        "NUMBA_CACHE_DIR": str(home / ".cache" / "numba"),
        # For grand-children; the child itself is told by flags, as it is isolated from these.
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    }
    if limits.threads is not None:
        environment |= dict.fromkeys(_THREAD_VARIABLES, str(limits.threads))
    environment |= extra
    environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    environment["CUDA_VISIBLE_DEVICES"] = "" if device == "cpu" else device
    environment[MARKER] = str(marker)
    return environment


def prepare_directories(work_dir: Path) -> None:
    """Create the places that the environment points to."""
    for name in (".home", ".tmp"):
        (work_dir / name).mkdir(mode=0o700, parents=True, exist_ok=True)


def kill_marked(marker: str | None = None) -> int:
    """Kill what carries a marker until nothing is left; by default what ended supervisors left behind.

    Returns:
        How many processes were killed.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + _SWEEP_S
    while time.monotonic() < deadline:
        found = [pid for pid, text in marked_processes(marker) if marker or _is_orphaned(text)]
        if not found:
            break
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed.update(found)
        time.sleep(0.01)
    return len(killed)


def _is_orphaned(marker: str) -> bool:
    """Whether the supervisor that a marker names has ended."""
    supervisor, _, _ = marker.partition(":")
    pid, _, ticks = supervisor.partition("@")
    return pid.isdigit() and _start_ticks(int(pid)) != ticks


def _start_ticks(pid: int) -> str:
    """When a process started, in the kernel's words; "" for one that does not exist."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def marked_processes(marker: str | None = None) -> Iterator[tuple[int, str]]:
    """Find processes by marker: those of one child, or all that any supervisor left.

    Yields:
        The process id and the marker's text.
    """
    prefix = f"{MARKER}=".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # gone meanwhile, or somebody else's
            for variable in (entry / "environ").read_bytes().split(b"\0"):
                if variable.startswith(prefix):
                    text = variable[len(prefix) :].decode(errors="replace")
                    if marker is None or text == marker:
                        yield int(entry.name), text
