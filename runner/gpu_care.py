"""Which GPUs may be used: a sick one is left alone, probed now and then, and trusted again slowly.

    usable ── memory kept, lost, a child nobody can kill ──► quarantined ── 3 good probes ──► usable
       └─ the device itself reports damage: unusable for as long as it does, whatever a probe says

Pure: readings, results of probes and times come in. Others go on meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from runner.gpu import Gpu

logger = logging.getLogger(__name__)

PROBE_EVERY_S = 600.0
GOOD_PROBES = 3


@dataclass(slots=True)
class _Quarantine:
    reason: str
    probe_at: float
    good: int = 0


class GpuCare:
    """Keeps the sick list of one machine; used by one thread."""

    def __init__(
        self, probe_every_s: float = PROBE_EVERY_S, good_probes: int = GOOD_PROBES
    ) -> None:
        self._probe_every_s = probe_every_s
        self._good_probes = good_probes
        self._damaged: dict[str, str] = {}
        self._quarantined: dict[str, _Quarantine] = {}

    def examine(self, gpus: Iterable[Gpu], expected: Collection[str], now: float) -> None:
        """Look at a fresh inventory before work is taken; `expected` are the UUIDs that we use."""
        present = {gpu.uuid: gpu for gpu in gpus}
        for uuid in expected:
            if uuid not in present:
                self.quarantine(uuid, "the GPU is lost", now)
        damaged = {uuid: _damage(gpu) for uuid, gpu in present.items()}
        self._damaged = {uuid: reason for uuid, reason in damaged.items() if reason}

    def quarantine(self, uuid: str, reason: str, now: float) -> None:
        """Leave a GPU alone; the first reason stays until it is trusted again."""
        if uuid in self._quarantined:
            return
        logger.error("GPU %s is quarantined: %s", uuid, reason)
        self._quarantined[uuid] = _Quarantine(reason, now + self._probe_every_s)

    def reason(self, uuid: str) -> str | None:
        """Why a GPU must not be used; None if it may be."""
        held = self._quarantined.get(uuid)
        return self._damaged.get(uuid) or (held.reason if held is not None else None)

    def is_usable(self, uuid: str) -> bool:
        """Whether a child may be started on it."""
        return self.reason(uuid) is None

    def due_probes(self, now: float) -> list[str]:
        """The GPUs that should be probed now; tell the results to `note_probe`."""
        return [uuid for uuid, held in self._quarantined.items() if now >= held.probe_at]

    def note_probe(self, uuid: str, now: float, *, is_good: bool) -> None:
        """Take the result of a probe; a bad one starts the count again."""
        held = self._quarantined.get(uuid)
        if held is None:
            return
        held.good = held.good + 1 if is_good else 0
        held.probe_at = now + self._probe_every_s
        if held.good >= self._good_probes:
            logger.warning("GPU %s is trusted again after %d good probes", uuid, held.good)
            del self._quarantined[uuid]


def _damage(gpu: Gpu) -> str:
    if gpu.uncorrected_errors:
        return f"{gpu.uncorrected_errors} uncorrected memory errors"
    return "memory pages wait to be retired: restart the machine" if gpu.needs_restart else ""
