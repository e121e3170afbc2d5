"""Remembers with how little memory things worked, in one JSON file, so that the next ones begin there.

The caller chooses the keys (a kind of work, a model, a device). A file that cannot be read is started anew: it
holds experience, not data. Safe from any thread; of two processes that remember at the same moment one may lose.
"""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

from runner.atomic import write_json
from runner.frames import JsonObject
from runner.oom_plan import MemoryPlan

logger = logging.getLogger(__name__)


class PlanStore:
    """A file of plans by key."""

    def __init__(self, path: Path) -> None:
        """Read what is there."""
        self._path = path
        self._plans = _read(path)
        self._lock = threading.Lock()

    def plan(self, key: str) -> MemoryPlan | None:
        """Where to begin; None when nothing ever ran out of memory."""
        with self._lock:
            return self._plans.get(key)

    def remember(self, key: str, plan: MemoryPlan) -> None:
        """Begin there next time; on disk before this returns."""
        with self._lock:
            if self._plans.get(key) == plan:
                return
            self._plans = {**_read(self._path), key: plan}
            write_json(self._path, {name: known.to_json() for name, known in self._plans.items()})


def _read(path: Path) -> dict[str, MemoryPlan]:
    try:
        plain: JsonObject = json.loads(path.read_text(encoding="utf-8"))
        return {key: MemoryPlan.from_json(plan) for key, plan in plain.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        logger.warning("memory plans are started anew, %s cannot be read: %s", path, error)
        return {}
