"""Removes what was kept long enough: finished jobs with their results, and recordings that no open job needs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from web.spool import Spool
from web.store import Store

logger = logging.getLogger(__name__)

EVERY_S = 60.0


class Retention:
    """Sweeps now and then; cheap to ask often."""

    def __init__(
        self, store: Store, spool: Spool, result_path: Callable[[str], Path], keep_hours: float
    ) -> None:
        self._store = store
        self._spool = spool
        self._result_path = result_path
        self._keep_s = keep_hours * 3600
        self._swept_at = float("-inf")

    def sweep(self) -> None:
        """Remove what is due."""
        if time.monotonic() - self._swept_at < EVERY_S:
            return
        self._swept_at = time.monotonic()
        old = self._store.finished_before(time.time() - self._keep_s)
        for job in old:
            self._result_path(job.id).unlink(missing_ok=True)
            self._store.delete_job(job.id)
        self._spool.sweep(self._keep_s)
        if old:
            logger.info("removed %d jobs that ended long ago", len(old))
