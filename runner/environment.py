"""The environment of a child: built from an allow-list, never copied, and marked as ours.

Knows no secrets: it cannot pass on what it does not list.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from runner.limits import Limits
from runner.marker import MARKER, Marker

_PASSED_ON = ("PATH", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def child_environment(
    work_dir: Path, device: str, limits: Limits, extra: Mapping[str, str], marker: Marker
) -> dict[str, str]:
    """Build the whole environment; `extra` wins over everything but the marker and the device."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {
        "LANG": "C.UTF-8",
        **_own_places(work_dir),
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


def command_environment() -> dict[str, str]:
    """Build the environment of an external program that this process starts itself.

    Below a child it is the child's own. In the supervisor it is the allow-list, a mark, and no GPU.
    """
    if MARKER in os.environ:
        return dict(os.environ)
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return environment | {
        "LANG": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "",
        MARKER: str(Marker.new()),
    }


def prepare_directories(work_dir: Path) -> None:
    """Create the places that the environment points to."""
    for name in (".home", ".tmp"):
        (work_dir / name).mkdir(mode=0o700, parents=True, exist_ok=True)


def settle_in(work_dir: Path) -> None:
    """Make another directory the calling process's own, as if it had been started there."""
    prepare_directories(work_dir)
    os.chdir(work_dir)
    os.environ.update(_own_places(work_dir))
    tempfile.tempdir = None  # read from the environment once, and then remembered


def _own_places(work_dir: Path) -> dict[str, str]:
    home = work_dir / ".home"
    return {
        "HOME": str(home),
        "TMPDIR": str(work_dir / ".tmp"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "MPLCONFIGDIR": str(home / ".config"),
        "NUMBA_CACHE_DIR": str(home / ".cache" / "numba"),
    }
