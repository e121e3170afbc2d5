"""The places of this box where a job can run, and which of them is the best for the next one.

    slot ─ a device (a GPU's UUID, a MIG id, "cpu") ─ at most one job

There is a slot for every device at least, and at most `limit` jobs run at once: so a job that a sick GPU
has given back finds another one. Used by the worker's loop alone; knows no GitLab.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Slot:
    """One place."""

    device: str
    is_busy: bool = False


class Slots:
    """All places of a box."""

    def __init__(self, devices: Sequence[str], limit: int | None = None) -> None:
        """Make places.

        Args:
            devices: what jobs may run on.
            limit: jobs at once; one per device unless it is given. A larger one shares devices.
        """
        self.limit = limit or len(devices)
        count = max(self.limit, len(devices))
        self._slots = tuple(Slot(devices[number % len(devices)]) for number in range(count))

    @property
    def has_room(self) -> bool:
        """Whether one more job may run, wherever."""
        return sum(slot.is_busy for slot in self._slots) < self.limit

    def choose(self) -> Slot | None:
        """The place for the next job: on the device with the fewest jobs; None if there is none."""
        free = [slot for slot in self._slots if not slot.is_busy]
        if not free or not self.has_room:
            return None
        return min(free, key=lambda slot: self._jobs_on(slot.device))

    def _jobs_on(self, device: str) -> int:
        return sum(slot.is_busy for slot in self._slots if slot.device == device)
