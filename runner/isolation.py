"""Chooses between keeping models and giving memory back, by what was measured. Pure: numbers in, a choice out.

all stages fit beside each other         KEPT     every stage's child keeps its model
only one at a time does, or who knows    STAGED   a stage's child is gone before the next one starts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from runner.peak import Peak

MARGIN = 1.1
RESERVE_BYTES = 512 << 20
"""Left free for what no measurement has seen: a longer file, another process, a CUDA context."""

_GIB = 1 << 30


class Isolation(StrEnum):
    """How long a stage's child lives."""

    KEPT = "kept"
    STAGED = "staged"


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do, whether it fits, and a sentence with the numbers."""

    isolation: Isolation
    reason: str
    fits: bool = True


def needed_bytes(peak_bytes: int) -> int:
    """What must be free for something that once held so much."""
    return int(peak_bytes * MARGIN) + RESERVE_BYTES


def choose_isolation(
    peaks: Sequence[Peak | None], room: Peak, *, is_training: bool = False
) -> Choice:
    """Choose for stages that run one after the other.

    Args:
        peaks: each stage's measured peak; None where nobody has measured.
        room: free memory of this host and of the GPU.
        is_training: training gets a child per phase, whatever fits.
    """
    if is_training:
        return Choice(Isolation.STAGED, "training gets a child per phase")
    known = [peak for peak in peaks if peak is not None]
    if len(known) < len(peaks):
        unknown = len(peaks) - len(known)
        return Choice(Isolation.STAGED, f"{unknown} of {len(peaks)} stages were never measured")
    together = Peak(sum(peak.host_bytes for peak in known), sum(peak.gpu_bytes for peak in known))
    if _fits(together, room):
        return Choice(Isolation.KEPT, f"all stages together fit: {_told(together, room)}")
    largest = Peak()
    for peak in known:
        largest |= peak
    reason = f"only one stage at a time fits: {_told(together, room)}"
    if not _fits(largest, room):
        return Choice(
            Isolation.STAGED, f"the largest stage does not fit: {_told(largest, room)}", fits=False
        )
    return Choice(Isolation.STAGED, reason)


def _fits(peak: Peak, room: Peak) -> bool:
    fits_gpu = not peak.gpu_bytes or needed_bytes(peak.gpu_bytes) <= room.gpu_bytes
    return fits_gpu and needed_bytes(peak.host_bytes) <= room.host_bytes


def _told(peak: Peak, room: Peak) -> str:
    text = f"{peak.host_bytes / _GIB:.1f} of {room.host_bytes / _GIB:.1f} GiB host memory"
    if peak.gpu_bytes:
        text += f", {peak.gpu_bytes / _GIB:.1f} of {room.gpu_bytes / _GIB:.1f} GiB GPU memory"
    return text
