"""Going on with a training that another box, or a lost disk, had begun.

Looks in the job's folder for the state that an earlier attempt saved there (`interim`) and puts it where
the training will look for it. A state that cannot be used costs the work behind it, never the job: the
training then starts from the beginning. Knows no lease and no model.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from gitlab_jobs import paths
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.lfs import parse_pointer
from gitlab_jobs.store import Change, Delete, ProjectStore, TransferProgress
from gitlab_jobs.training_state import About, StateRefused, find_state, unpack

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resumed:
    """What was found: whose state is in place now (None: nobody's), in a sentence for the job's log."""

    about: About | None
    said: str


def restore(
    store: ProjectStore, job_id: str, home: Path, progress: TransferProgress
) -> Resumed | None:
    """Fetch the state that was saved in the job's folder into `home`; None if there is nothing to do.

    Raises:
        Unavailable: the server cannot be asked now.
    """
    if find_state(home) is not None:
        return None
    path = paths.resume_path(job_id)
    saved = store.read([path]).get(path)
    if saved is None:
        return None
    try:
        pointer = parse_pointer(saved.content)
        if pointer is None:
            raise StateRefused("it is no large file")
        fetched = store.fetch_objects([pointer], progress).get(pointer.oid)
        if fetched is None:
            raise StateRefused("its content is missing or damaged on the server")
        reach("resume.fetched")
        about = unpack(fetched, home, job_id)
        reach("resume.acted")
    except StateRefused as refused:
        logger.warning("the saved state of job %s cannot be used: %s", job_id, refused)
        return Resumed(
            None, f"The saved state cannot be used, starting from the beginning: {refused}"
        )
    logger.info("job %s goes on from the state that %s saved", job_id, about.worker_id)
    return Resumed(about, f"Going on from the state that worker {about.worker_id} saved")


def removal(store: ProjectStore, job_id: str) -> list[Change]:
    """What an end must do with the saved state: nobody will go on from it any more."""
    return [Delete(path) for path in store.read([paths.resume_path(job_id)])]
