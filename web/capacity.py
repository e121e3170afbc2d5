"""What a worker can do, and how much of it is free: the capabilities that controllers ask for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from runner.gpu import Gpu
from web.engine import Engine
from web.protocol import API_VERSION, FORMATS, program_version


@dataclass(frozen=True, slots=True)
class Capacity:
    """The worker's side of the capacity reply."""

    engine: Engine
    model: str
    gpus: tuple[Gpu, ...]
    max_bytes: int
    is_public: bool
    """Whether strangers may ask."""
    version: str = field(default_factory=program_version)
    begun_at: float = field(default_factory=time.monotonic)

    @property
    def has_gpu(self) -> bool:
        """Whether jobs run on one."""
        return bool(self.gpus)

    def has_model(self, name: str | None) -> bool:
        """Whether a job that wants this model can be done here."""
        return name is None or name == self.model

    def shown(self) -> dict[str, Any]:
        """For whoever has the token."""
        return {
            **self.shown_to_strangers(),
            "gpuName": self.gpus[0].name if self.gpus else None,
            "gpus": [{"id": gpu.uuid, "name": gpu.name} for gpu in self.gpus],
            "models": {
                "loaded": [self.model] if self.engine.is_ready else [],
                "default": self.model,
            },
            "limits": {"maxFileBytes": self.max_bytes},
            "features": ["vocabulary", *(["diarization"] if self.engine.can_diarize else [])],
            "formats": list(FORMATS),
            "uptimeSeconds": round(time.monotonic() - self.begun_at, 1),
        }

    def shown_to_strangers(self) -> dict[str, Any]:
        """Nothing about the machine."""
        engine = self.engine
        return {
            "activeJobs": engine.active,
            "maxConcurrentJobs": engine.places,
            "freeSlots": engine.free,
            "gpu": self.has_gpu,
            "status": engine.status,
            "draining": engine.is_draining,
            "apiVersion": API_VERSION,
            "version": self.version,
        }
