"""What a child may use and how long it may stay silent, and the rlimits that enforce part of it.

Knows nothing of jobs: the numbers are defaults, the caller chooses. The address space is limited only on
request, since CUDA reserves far more of it than memory exists.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from runner.frames import JsonObject

OOM_SCORE_ADJ = 500
"""Raised above every neighbour of the default score, so that the kernel takes a child first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, sizes in bytes; None means that the system's own limit stays."""

    start_timeout_s: float = 60.0
    """From the exec to the hello frame."""
    heartbeat_s: float = 5.0
    heartbeat_timeout_s: float = 60.0
    """Silence of the heartbeat thread, which needs the interpreter lock, until the child is hung."""
    progress_timeout_s: float = 6 * 3600.0
    """Without progress, request or result. Stages have shorter deadlines; this is the last net."""
    grace_s: float = 120.0
    """From the cancel frame to SIGTERM: time for a last checkpoint."""
    term_grace_s: float = 10.0
    """From SIGTERM to SIGKILL."""
    dump_grace_s: float = 2.0
    """What a hung child gets to write down its stacks before it is killed."""
    leave_timeout_s: float = 10.0
    """From the end of the conversation to the end of the process."""
    serve_timeout_s: float = 10.0
    """How long the end of a child waits for a request that is still being carried out."""
    progress_interval_s: float = 0.2
    """Progress frames are at least this far apart; the last value is always sent."""
    write_timeout_s: float = 30.0
    """A child whose parent reads nothing for so long gives up."""
    open_files: int = 8192
    file_bytes: int | None = None
    address_space_bytes: int | None = None
    has_group: bool = True
    """A control group of its own, where this machine lets us make one; see `runner.cgroup`."""
    memory_bytes: int | None = None
    """Of the child's whole tree: enforced by its control group; without one sampled, a soft limit."""
    memory_interval_s: float = 2.0
    tasks: int | None = 4096
    """Processes and threads of the whole tree, where a control group counts them."""
    threads: int | None = None
    """OMP_NUM_THREADS and its relatives; None leaves it to the libraries."""
    log_bytes: int = 4 * 1024 * 1024
    """Beyond this the middle of the child's output is dropped from its log."""

    def to_json(self) -> JsonObject:
        """Plain data for the config frame."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{field.name: data[field.name] for field in fields(cls)})


def apply_limits(limits: Limits) -> None:
    """Bind the calling process, and all it will start, to the limits."""
    with suppress(OSError):  # some containers mount /proc read-only
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJ), encoding="ascii")
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, limits.open_files)
    if limits.file_bytes is not None:
        _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    if limits.address_space_bytes is not None:
        _lower(resource.RLIMIT_AS, limits.address_space_bytes)


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))
