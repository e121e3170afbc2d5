"""Remembers what tasks needed, in one JSON file, so that the next run can plan.

The caller chooses the keys (a task's name, with precision, batch and GPU model where they matter), owns the file
and writes from one process. A file that cannot be read is started anew: it holds experience, not data.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from runner.atomic import write_json
from runner.frames import JsonObject
from runner.peak import Peak

logger = logging.getLogger(__name__)

KEPT = 64
"""Runs remembered per key; older ones say less about today's data."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What to expect: of each memory the value that 95 of 100 runs stayed within."""

    peak: Peak
    runs: int


class PeakStore:
    """A file of peaks by key."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs = _read(path)

    def record(self, key: str, peak: Peak) -> None:
        """Remember one run, on disk before this returns."""
        self._runs[key] = [*self._runs.get(key, ()), peak][-KEPT:]
        self._write()

    def learned(self, key: str) -> Learned | None:
        """What earlier runs needed; None before the first."""
        runs = self._runs.get(key)
        if not runs:
            return None
        host = _p95([peak.host_bytes for peak in runs])
        return Learned(Peak(host, _p95([peak.gpu_bytes for peak in runs])), len(runs))

    def _write(self) -> None:
        plain = {key: [peak.to_json() for peak in runs] for key, runs in self._runs.items()}
        write_json(self._path, plain)


def _read(path: Path) -> dict[str, list[Peak]]:
    try:
        plain: JsonObject = json.loads(path.read_text(encoding="utf-8"))
        return {key: [Peak.from_json(run) for run in runs] for key, runs in plain.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        logger.warning("learned peaks are started anew, %s cannot be read: %s", path, error)
        return {}


def _p95(values: list[int]) -> int:
    """Nearest rank: always a value that was really seen."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
