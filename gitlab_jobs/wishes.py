"""What the user wants with a running job, read from the manifest look by look.

A cancel counts at once. A vanished entry counts when two successive looks have seen a readable manifest
without it (decision 0005); a manifest that cannot be read says nothing. Knows no store and no clock.
"""

from __future__ import annotations

import logging

from gitlab_jobs.errors import ManifestError
from gitlab_jobs.job import CancelReason
from gitlab_jobs.manifest import parse_manifest
from gitlab_jobs.store import FileVersion

logger = logging.getLogger(__name__)

LOOKS_TO_BE_SURE = 2


class UserWish:
    """Remembers earlier looks at one job's entry."""

    def __init__(self, job_id: str) -> None:
        """Nothing has been seen yet."""
        self._job_id = job_id
        self._looks_without_entry = 0

    @property
    def is_in_doubt(self) -> bool:
        """Whether the entry was gone at the last look, and one more look will settle it."""
        return 0 < self._looks_without_entry < LOOKS_TO_BE_SURE

    def look(self, manifest: FileVersion | None) -> CancelReason | None:
        """What the user wants, as of this version of the manifest (None: there is no such file)."""
        entry_is_gone, canceled = self._read(manifest)
        self._looks_without_entry = self._looks_without_entry + 1 if entry_is_gone else 0
        if canceled:
            return CancelReason.USER_CANCELED
        if self._looks_without_entry >= LOOKS_TO_BE_SURE:
            return CancelReason.JOB_REMOVED
        return None

    def _read(self, manifest: FileVersion | None) -> tuple[bool, bool]:
        """Whether the entry is gone, and whether it is canceled."""
        if manifest is None:
            return False, False
        try:
            parsed = parse_manifest(manifest.content)
        except ManifestError as error:
            logger.warning("the manifest cannot be read at the moment, going on: %s", error)
            return False, False
        entries = [entry for entry in parsed.jobs if entry.job_id == self._job_id]
        return self._job_id not in parsed.ids, any(entry.canceled for entry in entries)
