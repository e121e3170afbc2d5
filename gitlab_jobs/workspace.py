"""Job directories on this machine: `job_<id>_<UTC time>/` below the work directory, and how long they stay.

Knows nothing of a job but its id. The newest `keep` directories stay for a person to look into.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gitlab_jobs.crashpoints import reach
from gitlab_jobs.training_state import HOME

logger = logging.getLogger(__name__)

PREFIX = "job_"
TIME_FORMAT = "%Y-%m-%dT%H-%M-%S-%f"


@dataclass(frozen=True, slots=True)
class Workspace:
    """One attempt's directory; `scratch` is where the child may write."""

    root: Path

    @property
    def scratch(self) -> Path:
        """The child's current directory."""
        return self.root / "work"

    @property
    def training(self) -> Path:
        """Where a training keeps its state."""
        return self.scratch / HOME

    @property
    def log_path(self) -> Path:
        """Everything the child and its descendants printed, and the job's story."""
        return self.root / "logs.txt"


def open_workspace(work_dir: Path, job_id: str) -> Workspace:
    """Make a new directory for an attempt; two attempts of one job never share one."""
    started = datetime.now(UTC).strftime(TIME_FORMAT)
    workspace = Workspace((work_dir / f"{PREFIX}{job_id}_{started}").resolve())
    workspace.root.mkdir(parents=True, mode=0o700)
    workspace.scratch.mkdir(mode=0o700)
    return workspace


def prune_workspaces(work_dir: Path, keep: int, in_use: Collection[Path] = ()) -> None:
    """Delete all but the `keep` newest job directories (by the time in their names); -1 keeps all.

    Directories `in_use` hold work that is not published yet; they are never touched.
    """
    if keep < 0:
        return
    found = [
        path
        for path in work_dir.resolve().glob(f"{PREFIX}*_*")
        if path.is_dir() and path not in in_use
    ]
    found.sort(key=lambda path: path.name.rpartition("_")[2], reverse=True)
    for path in found[keep:]:
        reach("prune.intended")
        shutil.rmtree(path, ignore_errors=True)
        reach("prune.acted")
        logger.debug("removed the old job directory %s", path.name)
