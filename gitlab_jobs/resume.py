"""Going on with a training that another box, or a lost disk, had begun.

Looks in the job's folder for the state that an earlier attempt saved there (`interim`) and puts it where
the training will look for it. A state that cannot be used costs the work behind it, never the job: the
training then starts from the beginning. It also learns from the project's revision that it began with.
Knows no lease and no model.
"""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path

from gitlab_jobs import paths
from gitlab_jobs.crashpoints import reach
from gitlab_jobs.errors import Missing
from gitlab_jobs.lfs import parse_pointer
from gitlab_jobs.store import Change, Delete, ProjectStore, Snapshot, TransferProgress
from gitlab_jobs.training_state import REVISION, StateRefused, find_state, unpack

logger = logging.getLogger(__name__)


COPIES = 3
"""As received, unpacked, and the next one that the training writes."""
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def restore(store: ProjectStore, job_id: str, home: Path, progress: TransferProgress) -> str | None:
    """Fetch the state that was saved in the job's folder into `home`, unless it holds one.

    Returns:
        What came of it, for the job's log; None if there was nothing to do.

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
        home.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(home.parent).free < COPIES * pointer.size:
            raise StateRefused("this box has no room for it")
        fetched = store.fetch_objects([pointer], progress).get(pointer.oid)
        if fetched is None:
            raise StateRefused("its content is missing or damaged on the server")
        reach("resume.fetched")
        about = unpack(fetched, home, job_id)
        reach("resume.acted")
    except StateRefused as refused:
        logger.warning("the saved state of job %s cannot be used: %s", job_id, refused)
        return f"The saved state cannot be used, starting from the beginning: {refused}"
    logger.info("job %s goes on from the state that %s saved", job_id, about.worker_id)
    return f"Going on from the state that worker {about.worker_id} saved"


def begun_with(store: ProjectStore, home: Path) -> Snapshot:
    """The project as the training first saw it: what people change meanwhile is for the next one.

    Else a verse that is recorded while it runs would make all its saved states those of another training.
    """
    note = home / REVISION
    text = note.read_text("ascii", "replace").strip() if note.is_file() else ""
    try:
        snapshot = store.snapshot(text if _COMMIT.fullmatch(text) else None)
    except Missing:
        logger.warning("the project's revision %s is gone; taking the newest one", text)
        snapshot = store.snapshot()
    home.mkdir(parents=True, exist_ok=True)
    part = home / f".{REVISION}.part"
    part.write_text(snapshot.revision, "ascii")
    part.replace(note)
    return snapshot


def removal(store: ProjectStore, job_id: str) -> list[Change]:
    """What an end must do with the saved state: nobody will go on from it any more."""
    return [Delete(path) for path in store.read([paths.resume_path(job_id)])]
