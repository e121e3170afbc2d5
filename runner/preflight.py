"""Whether a GPU has room for a child before it is started, and whether it got its memory back afterwards.

Judges what `runner.gpu` has read; knows no child but by process id. The only thing it waits for is memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from runner.gpu import Gpu

RETURN_TIMEOUT_S = 5.0
RETURN_SLACK_BYTES = 64 << 20
_LOOK_AGAIN_S = 0.05
_GIB = 1 << 30

_INFERENCE_OVERHEAD = 1.25
_TRAINING_BYTES = 16
"""Per parameter: fp32 weights, gradients, and the two moments of Adam; activations come on top."""


class Admission(StrEnum):
    """What to do with a child that wants this GPU."""

    READY = "ready"
    WAIT = "wait"
    """Our own children hold the memory; they will end."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Preflight:
    """The answer, with its numbers."""

    admission: Admission
    reason: str


def estimate_peak_bytes(
    parameters: int, *, parameter_bytes: int = 4, is_training: bool = False
) -> int:
    """Guess what a model of this size holds, until somebody has measured it."""
    if is_training:
        return int(parameters * max(_TRAINING_BYTES, 4 * parameter_bytes) * 1.5)
    return int(parameters * parameter_bytes * _INFERENCE_OVERHEAD)


def check_room(gpu: Gpu, needed_bytes: int, our_pids: Collection[int] = ()) -> Preflight:
    """Compare what a child needs with what the GPU has, and say who holds the rest."""
    wanted = f"{gpu.name}: {needed_bytes / _GIB:.1f} GiB needed"
    if gpu.free_bytes >= needed_bytes:
        return Preflight(Admission.READY, f"{wanted}, {gpu.free_bytes / _GIB:.1f} GiB free")
    if gpu.total_bytes < needed_bytes:
        return Preflight(
            Admission.REFUSED, f"{wanted}, it has {gpu.total_bytes / _GIB:.1f} GiB in all"
        )
    ours = sum(process.used_bytes or 0 for process in gpu.processes if process.pid in our_pids)
    if gpu.free_bytes + ours >= needed_bytes:
        return Preflight(
            Admission.WAIT,
            f"{wanted}, {gpu.free_bytes / _GIB:.1f} GiB free, our own children hold {ours / _GIB:.1f} GiB",
        )
    return Preflight(
        Admission.REFUSED,
        f"{wanted}, {gpu.free_bytes / _GIB:.1f} GiB free; {_foreign(gpu, our_pids)}",
    )


def await_memory(
    read: Callable[[], Gpu | None],
    before: Gpu,
    ended_pids: Collection[int],
    timeout_s: float = RETURN_TIMEOUT_S,
) -> str | None:
    """Wait until the GPU is as it was before a child that has ended.

    Args:
        read: reads the GPU anew; None once it is lost.
        before: as it was before the child started; nothing else of ours may have started since.
        ended_pids: the child's processes.
        timeout_s: how long a driver may take to give the memory back.

    Returns:
        None when all is well, else what is wrong, with numbers.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        trouble = _what_is_left(read(), before, ended_pids)
        if trouble is None or time.monotonic() >= deadline:
            return trouble
        time.sleep(_LOOK_AGAIN_S)


def _what_is_left(now: Gpu | None, before: Gpu, ended_pids: Collection[int]) -> str | None:
    if now is None:
        return "the GPU is lost"
    still = sorted(process.pid for process in now.processes if process.pid in ended_pids)
    if still:
        return f"ended processes still hold it: {', '.join(map(str, still))}"
    left_bytes = now.used_bytes - before.used_bytes
    if left_bytes > RETURN_SLACK_BYTES:
        return f"{left_bytes >> 20} MiB did not come back"
    return None


def _foreign(gpu: Gpu, our_pids: Collection[int]) -> str:
    told = [
        f"process {process.pid} holds {(process.used_bytes or 0) / _GIB:.1f} GiB"
        for process in gpu.processes
        if process.pid not in our_pids
    ]
    return ", ".join(told) or "nobody says who holds the rest"
