"""The health and memory of the devices in use, as NVML tells them: who may be given a job, and who not.

    before a claim   lost, damaged, quarantined? ─► not usable      room for this kind of job? learned or estimated
    after a child    memory back? promised device seen? ─► else quarantine, a probe every ten minutes

What is wrong is also written to a file, where `--check` finds it. The processor is always well. Knows no
GitLab. Safe from any thread.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gitlab_jobs.appetite import Appetite
from gitlab_jobs.devices import CPU
from runner.atomic import write_json
from runner.gpu import Gpu, inventory
from runner.gpu_care import GpuCare
from runner.gpu_growth import held_on
from runner.gpu_probe import probe_gpu
from runner.isolation import needed_bytes
from runner.peak import Peak
from runner.peak_store import PeakStore
from runner.preflight import Admission, Preflight, await_memory, check_room
from runner.verdict import ChildExit, Verdict

logger = logging.getLogger(__name__)

SICK_FILE = "sick_gpus.json"
PEAKS_FILE = "memory_peaks.json"
MOST_OF_A_GPU = 0.9
"""Asked for at most, unless more was measured: the rest is a screen's, or the driver's."""
_FREE = Preflight(Admission.READY, "the processor")


class DeviceWatch:
    """All devices of a box that jobs may run on."""

    def __init__(
        self,
        places: Sequence[str],
        work_dir: Path,
        *,
        read: Callable[[], list[Gpu]] = inventory,
        probe: Callable[[str, Path], str | None] = probe_gpu,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to watch.

        Args:
            places: the device of each slot.
            work_dir: of the daemon; what is learned is kept there.
            read: takes an inventory.
            probe: starts a tiny child on a device; None when that went well.
            now: seconds from any fixed start.
        """
        self._slots_on = Counter(device for device in places if device != CPU)
        self._work_dir = work_dir
        self._read = read
        self._probe = probe
        self._now = now
        self._lock = threading.RLock()
        self._care = GpuCare()
        self._peaks = PeakStore(work_dir / PEAKS_FILE)
        self._names: dict[str, str] = {}
        self._probing: set[str] = set()
        self._blamed: Counter[str] = Counter()
        self._told: dict[str, str] | None = None

    def look(self) -> None:
        """Take an inventory before work is looked for, and probe what is due."""
        if not self._slots_on:
            return
        gpus = self._read()
        with self._lock:
            self._names |= {gpu.uuid: gpu.name for gpu in gpus}
            self._care.examine(gpus, self._slots_on, self._now())
            due = [uuid for uuid in self._care.due_probes(self._now()) if uuid not in self._probing]
            self._probing.update(due)
            self._tell()
        for uuid in due:
            threading.Thread(target=self._try_out, args=(uuid,), name="probe", daemon=True).start()

    def trouble(self, device: str) -> str | None:
        """Why a device must not be used; None if it may be."""
        with self._lock:
            return None if device == CPU else self._care.reason(device)

    @property
    def troubles(self) -> dict[str, str]:
        """What is wrong, by device."""
        found = {device: self.trouble(device) for device in self._slots_on}
        return {device: reason for device, reason in found.items() if reason}

    @property
    def is_probing(self) -> bool:
        """Whether a sick device is being tried out at this moment."""
        with self._lock:
            return bool(self._probing)

    def room(
        self,
        device: str,
        appetite: Appetite,
        our_pids: Collection[int] = (),
        promised_bytes: int = 0,
    ) -> Preflight:
        """Whether a job of this kind fits now.

        Args:
            device: where it would run.
            appetite: of the job.
            our_pids: processes of ours, which will end.
            promised_bytes: what jobs that run there will need, if they have not taken it yet.
        """
        gpu = self.reading(device)
        if gpu is None:
            return _FREE
        needed = self.needed_bytes(device, appetite, gpu)
        if not needed:
            return Preflight(Admission.READY, f"{gpu.name}: nobody knows how much it needs")
        taken = replace(gpu, used_bytes=max(gpu.used_bytes, promised_bytes))
        return check_room(taken, needed, our_pids)

    def needed_bytes(self, device: str, appetite: Appetite, gpu: Gpu | None = None) -> int:
        """What a job of this kind needs, by what is learned, else by what is estimated; 0: unknown."""
        gpu = gpu or self.reading(device)
        if gpu is None:
            return 0
        with self._lock:
            learned = self._peaks.learned(self._key(appetite, device))
        peak_bytes = learned.peak.gpu_bytes if learned is not None else appetite.estimate_bytes
        # A margin is no reason to refuse what has run here before, nor a guess to refuse it for ever.
        most = int(gpu.total_bytes * MOST_OF_A_GPU)
        known = peak_bytes if learned is not None else 0
        return min(needed_bytes(peak_bytes), max(known, most)) if peak_bytes else 0

    def reading(self, device: str) -> Gpu | None:
        """A device as it is now; None for the processor, and for a GPU that is lost."""
        if device == CPU:
            return None
        return next((gpu for gpu in self._read() if gpu.uuid == device), None)

    def learn(self, appetite: Appetite, device: str, peak: Peak, pid: int | None) -> None:
        """Remember what a job has held; NVML also sees what PyTorch does not."""
        gpu = self.reading(device)
        if gpu is None:
            return
        held_bytes = held_on(gpu, pid) or 0
        with self._lock:
            self._peaks.record(self._key(appetite, device), peak | Peak(gpu_bytes=held_bytes))

    def held_bytes(self, device: str, pid: int) -> int | None:
        """What a process holds there now; None where nobody tells."""
        gpu = self.reading(device)
        return held_on(gpu, pid) if gpu is not None else None

    def look_after(
        self, device: str, before: Gpu | None, pid: int | None, ended: ChildExit
    ) -> None:
        """Judge a device by the end of a child; waits for the memory to come back."""
        if device == CPU:
            return
        reason = _evidence(ended)
        if reason is None and before is not None and self._slots_on[device] == 1:
            reason = await_memory(lambda: self.reading(device), before, {pid} if pid else set())
        if reason is not None:
            with self._lock:
                self._care.quarantine(device, reason, self._now())
                self._tell()

    def is_to_blame(self, device: str, ended: ChildExit, job_id: str) -> bool:
        """Whether a job failed by its device's fault; the second time it is the job that is suspect."""
        if device == CPU or ended.verdict is Verdict.SUCCEEDED or _evidence(ended) is None:
            return False
        with self._lock:
            self._blamed[job_id] += 1
            return self._blamed[job_id] == 1

    def _try_out(self, uuid: str) -> None:
        reason = self._probe(uuid, self._work_dir / "probes" / uuid)
        with self._lock:
            self._care.note_probe(uuid, self._now(), is_good=reason is None)
            self._tell()
            self._probing.discard(uuid)

    def _key(self, appetite: Appetite, device: str) -> str:
        return f"{appetite.key} on {self._names.get(device, device)}"

    def _tell(self) -> None:
        """Leave what is wrong where people and `--check` look for it, when it has changed."""
        troubles = self.troubles
        if troubles == self._told:
            return
        self._told = troubles
        told = {f"{self._names.get(uuid, 'GPU')} ({uuid})": why for uuid, why in troubles.items()}
        write_json(self._work_dir / SICK_FILE, told)


def read_troubles(work_dir: Path) -> Mapping[str, str]:
    """What a daemon has last found wrong with this box's GPUs, by name."""
    try:
        told = json.loads((work_dir / SICK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(reason) for name, reason in told.items()}


def _evidence(ended: ChildExit) -> str | None:
    """What the end of a child says of its GPU; None if nothing."""
    if ended.unkillable:
        return f"processes that cannot be ended: {', '.join(map(str, ended.unkillable))}"
    if ended.verdict is Verdict.GPU_LOST:
        return f"it was lost: {ended.detail}"
    if ended.error is not None and ended.error.kind == "DeviceMissing":
        return f"a process did not see it: {ended.detail}"
    return None
