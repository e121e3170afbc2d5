"""The places of this box where a job can run, and which of them is the best for the next one.

    slot ─ a device (a GPU's UUID, a MIG id, "cpu") ─ at most one job ─ perhaps an idle child with its model

There is a slot for every device at least, and at most `limit` jobs run at once: so a job that a sick GPU
has given back finds another one. Used by the worker's loop alone; knows no GitLab.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from gitlab_jobs.appetite import appetite_of
from gitlab_jobs.children import Affinity, Children, Common, Needs, Place
from gitlab_jobs.device_watch import DeviceWatch
from gitlab_jobs.job import Job
from gitlab_jobs.settings import WorkerSettings
from gitlab_jobs.store import ProjectRef
from gitlab_jobs.workload import Workload
from runner.log_pipe import Mask
from runner.machines import PUBLIC_NAMES, WorkerState
from runner.plan_store import PlanStore
from runner.preflight import Admission
from runner.stats import PoolStatus, WorkerStatus

logger = logging.getLogger(__name__)

IDLE_LOGS = "idle"
PLANS_FILE = "memory_plans.json"


@dataclass(slots=True)
class Slot:
    """One place; `children` starts what runs there."""

    children: Children
    is_busy: bool = False
    promised_bytes: int = 0
    """What its job will hold of the device's memory, as far as anybody knows."""
    jobs: int = 0
    busy_since: float = 0.0
    """Monotonic; when the job at hand began."""

    @property
    def device(self) -> str:
        """What runs here runs on this."""
        return self.children.device


class Slots:
    """All places of a box."""

    def __init__(
        self, places: Sequence[Slot], limit: int, watch: DeviceWatch, workload: Workload
    ) -> None:
        """Offer places, of which `limit` may be in use at once; `workload` counts what they do."""
        self.limit = limit
        self.workload = workload
        self._begun_at = time.monotonic()
        self._slots = tuple(places)
        self._watch = watch
        self._refused: dict[str, str] = {}

    @classmethod
    def of(
        cls,
        settings: WorkerSettings,
        devices: Sequence[str],
        mask: Mask,
        watch: DeviceWatch | None = None,
    ) -> Slots:
        """The places that an operator's settings ask for: shared devices if they are fewer than jobs."""
        limit = settings.max_concurrent_jobs or len(devices)
        used = [devices[n % len(devices)] for n in range(max(limit, len(devices)))]
        work_dir = settings.work_dir.resolve()
        watch = watch or DeviceWatch(used, work_dir)
        plans, workload = PlanStore(work_dir / PLANS_FILE), Workload()
        common = Common(watch, workload, plans, mask, settings.keep_warm)
        logs = [work_dir / IDLE_LOGS / f"slot-{number}.log" for number in range(len(used))]
        places = [
            Slot(Children(device, common, log)) for device, log in zip(used, logs, strict=True)
        ]
        return cls(places, limit, watch, workload)

    @property
    def has_room(self) -> bool:
        """Whether one more job may run, if its memory suffices."""
        return bool(self._free)

    @property
    def are_all_sick(self) -> bool:
        """Whether no device may be used, now or soon."""
        return not any(self._is_usable(slot) for slot in self._slots)

    @property
    def troubles(self) -> dict[str, str]:
        """The devices that are left alone, and why."""
        return self._watch.troubles

    def occupy(self, slot: Slot) -> None:
        """A job begins in a slot."""
        slot.is_busy, slot.jobs, slot.busy_since = True, slot.jobs + 1, time.monotonic()

    def vacate(self, slot: Slot, outcome: str, wait_s: float) -> None:
        """Its job has ended; `wait_s` is how long that had waited to begin."""
        slot.is_busy = False
        self.workload.note_end(outcome, wait_s, time.monotonic() - slot.busy_since)

    def status(self) -> PoolStatus:
        """How the slots are, as a pool is told; from any thread."""
        now = time.monotonic()
        busy = [now - slot.busy_since for slot in self._slots if slot.is_busy]
        workers = [self._told(number, slot, now) for number, slot in enumerate(self._slots)]
        return self.workload.status(workers, sum(busy))

    def is_healthy(self, device: str) -> bool:
        """Whether a device may be used; from any thread."""
        return self._watch.trouble(device) is None

    def look(self) -> None:
        """See how the devices are, before work is looked for."""
        self._watch.look()

    def expire(self) -> None:
        """End idle children whose time is over."""
        for slot in self._slots:
            if not slot.is_busy:
                slot.children.expire()

    def choose(self, needs: Needs) -> Slot | None:
        """The place for a job: where its model is, else on the device with the fewest jobs.

        None if all are taken, or no device has the memory; that is logged, with its numbers.
        """
        for slot in sorted(self._free, key=lambda slot: self._rank(slot, needs.affinity)):
            if self._has_memory(slot, needs):
                self._refused.pop(needs.job_id, None)
                return slot
        return None

    def any_free(self) -> Slot | None:
        """A place for what needs no device."""
        return next((slot for slot in self._slots if not slot.is_busy), None)

    def place(self, slot: Slot, needs: Needs) -> Place:
        """What an attempt needs to know of a slot; jobs beside each other share the processor."""
        slot.promised_bytes = self._watch.needed_bytes(slot.device, needs.appetite)
        threads = max(1, (os.cpu_count() or 1) // self.limit) if self.limit > 1 else None
        return Place(slot.device, slot.children.for_job(needs), threads)

    def close(self) -> None:
        """End all idle children."""
        for slot in self._slots:
            slot.children.let_go()

    def _told(self, number: int, slot: Slot, now: float) -> WorkerStatus:
        state = WorkerState.IDLE if slot.children.is_idle else WorkerState.TERMINATED
        if slot.is_busy:
            state = WorkerState.PROCESSING
        elif not self._is_usable(slot):
            state = WorkerState.FAILED
        return WorkerStatus(
            name=f"slot-{number}",
            state=state.value,
            public_state=PUBLIC_NAMES.get(state, ""),
            device=slot.device,
            pid=slot.children.pid,
            rss_bytes=0,
            requests=slot.jobs,
            errors=0,
            loads=0,
            uptime_s=now - self._begun_at,
            last_error=self._watch.trouble(slot.device) or "",
        )

    @property
    def _free(self) -> list[Slot]:
        if sum(slot.is_busy for slot in self._slots) >= self.limit:
            return []
        return [slot for slot in self._slots if not slot.is_busy and self._is_usable(slot)]

    def _is_usable(self, slot: Slot) -> bool:
        return self._watch.trouble(slot.device) is None

    def _rank(self, slot: Slot, affinity: Affinity | None) -> tuple[bool, int, float]:
        # A model that somebody may need again is let go last, the one that has waited longest first.
        idle_since = slot.children.idle_since if slot.children.is_idle else None
        jobs = sum(one.is_busy for one in self._slots if one.device == slot.device)
        return (not slot.children.fits(affinity), jobs, idle_since or 0.0)

    def _has_memory(self, slot: Slot, needs: Needs) -> bool:
        if slot.children.fits(needs.affinity):
            return True
        ours = [pid for one in self._slots if (pid := one.children.pid) is not None]
        promised = sum(
            one.promised_bytes for one in self._slots if one.is_busy and one.device == slot.device
        )
        answer = self._watch.room(slot.device, needs.appetite, ours, promised)
        if answer.admission is Admission.WAIT:
            self._let_go_on(slot.device)
            answer = self._watch.room(slot.device, needs.appetite, ours, promised)
        if answer.admission is Admission.READY:
            return True
        if self._refused.get(needs.job_id) != answer.reason:
            self._refused[needs.job_id] = answer.reason
            logger.warning("job %s has to wait: %s", needs.job_id, answer.reason)
        return False

    def _let_go_on(self, device: str) -> None:
        for slot in self._slots:
            if slot.device == device and not slot.is_busy:
                slot.children.let_go()


def needs_of(job: Job, project: ProjectRef, settings: WorkerSettings) -> Needs:
    """What a job will want of a place."""
    appetite = appetite_of(job, settings.models, allows_cpu=settings.allow_cpu)
    return Needs(job.job_id, Affinity.of(job, project), appetite)
