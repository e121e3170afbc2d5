"""The places of this box where a job can run, and which of them is the best for the next one.

    slot ─ a device (a GPU's UUID, a MIG id, "cpu") ─ at most one job ─ perhaps an idle child with its model

There is a slot for every device at least, and at most `limit` jobs run at once: so a job that a sick GPU
has given back finds another one. Used by the worker's loop alone; knows no GitLab.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gitlab_jobs.children import Affinity, Children, Place


@dataclass(slots=True)
class Slot:
    """One place; `children` starts what runs there."""

    device: str
    children: Children
    is_busy: bool = False


class Slots:
    """All places of a box."""

    def __init__(
        self,
        devices: Sequence[str],
        limit: int | None,
        make_children: Callable[[int, str], Children],
    ) -> None:
        """Make places.

        Args:
            devices: what jobs may run on.
            limit: jobs at once; None for one per device. A larger one shares devices.
            make_children: makes what starts the children of a slot, by its number and device.
        """
        self.limit = limit or len(devices)
        count = max(self.limit, len(devices))
        places = [(number, devices[number % len(devices)]) for number in range(count)]
        self._slots = tuple(
            Slot(device, make_children(number, device)) for number, device in places
        )

    @property
    def has_room(self) -> bool:
        """Whether one more job may run, wherever."""
        return sum(slot.is_busy for slot in self._slots) < self.limit

    def choose(self, affinity: Affinity | None) -> Slot | None:
        """The place for a job: where its model is, else on the device with the fewest jobs; None if full."""
        free = [slot for slot in self._slots if not slot.is_busy]
        if not free or not self.has_room:
            return None
        return min(
            free,
            key=lambda slot: (
                not slot.children.fits(affinity),
                self._jobs_on(slot.device),
                # A model that somebody else may need again is let go last, the oldest one first.
                slot.children.idle_since or 0.0,
            ),
        )

    def place(self, slot: Slot, affinity: Affinity | None) -> Place:
        """What an attempt needs to know of a slot; jobs beside each other share the processor."""
        threads = max(1, (os.cpu_count() or 1) // self.limit) if self.limit > 1 else None
        return Place(slot.device, slot.children.for_job(affinity), threads)

    def expire(self) -> None:
        """End idle children whose time is over."""
        for slot in self._slots:
            if not slot.is_busy:
                slot.children.expire()

    def close(self) -> None:
        """End all idle children."""
        for slot in self._slots:
            slot.children.let_go()

    def _jobs_on(self, device: str) -> int:
        return sum(slot.is_busy for slot in self._slots if slot.device == device)
