"""From one revision of a project to the cells a job works on, with their audio on this machine.

One streamed archive brings notebooks and pointers; audio bytes come from the box's cache or in parallel
from the server. A recording that cannot be had leaves its verse out, with the reason, and nothing more.
A single recording can be asked for by the name that a job gives it.
Knows no handler; which cells qualify is `codex.selection`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from gitlab_jobs.callbacks import ProjectData, Purpose, Skipped, Utterance
from gitlab_jobs.codex.notebook import Notebook, NotebookError, load_notebook
from gitlab_jobs.codex.selection import (
    ChosenCell,
    Selection,
    select_for_speech,
    select_for_training,
    select_for_transcription,
    texts_by_people,
)
from gitlab_jobs.codex.takes import Pointers
from gitlab_jobs.errors import JobError
from gitlab_jobs.job import Job
from gitlab_jobs.lfs import Pointer, parse_pointer
from gitlab_jobs.paths import is_notebook_path, resolve_voice_reference
from gitlab_jobs.store import ProjectStore, Snapshot, TransferProgress

logger = logging.getLogger(__name__)

MOST_NAMED = 10


def collect(
    store: ProjectStore,
    job: Job,
    purpose: Purpose,
    snapshot: Snapshot,
    *,
    own_names: frozenset[str],
    stray_dir: Path,
    progress: TransferProgress,
) -> ProjectData:
    """Choose cells by the job's filters and fetch what belongs to them.

    Args:
        store: the project.
        job: its filters decide.
        purpose: what the cells are for.
        snapshot: the project's text, at the revision to work from.
        own_names: accounts whose text and audio are the worker's own, never learned from.
        stray_dir: where audio goes that somebody committed without LFS.
        progress: told about audio files; may raise to stop.

    Raises:
        InvalidJob: nothing that the job lists exists.
        StoreError: the project cannot be read.
    """
    files = snapshot.files
    notebooks = _readable_notebooks(files)
    selection = _select(notebooks, job, purpose, Pointers(files), own_names)
    fetched, unavailable = _fetch_audio(store, files, selection.chosen, stray_dir, progress)
    chosen = [one for one in selection.chosen if one.cell.id not in unavailable]
    return ProjectData(
        utterances=tuple(
            Utterance(
                notebook=one.cell.notebook,
                cell_id=one.cell.id,
                reference=one.cell.reference,
                text=one.cell.text,
                audio=fetched.get(one.pointer_path) if one.pointer_path else None,
                take_id=one.take.id if one.take else None,
                listed=one.listed,
            )
            for one in chosen
        ),
        skipped=(*selection.skipped, *unavailable.values()),
        project_texts=texts_by_people(notebooks, own_names),
    )


def fetch_recording(
    store: ProjectStore, reference: str, *, stray_dir: Path, progress: TransferProgress
) -> Path:
    """Fetch the recording that a job names as its voice, in any form that the editor writes.

    Raises:
        JobError: the name leads nowhere, or the server lacks the recording.
        UnsafePath: the name leaves the project.
        StoreError: the project cannot be read.
    """
    files = store.snapshot().files
    path = resolve_voice_reference(reference, files.keys())
    if path is None:
        raise JobError(
            "The recording that was chosen as the voice is not in the project (any more)."
        )
    pointer = parse_pointer(files[path])
    if pointer is None:
        return _keep(files[path], stray_dir)
    found = store.fetch_objects({pointer}, progress).get(pointer.oid)
    if found is None:
        raise JobError("The recording that was chosen as the voice is missing on the server.")
    return found


def _readable_notebooks(files: Mapping[str, bytes]) -> list[Notebook]:
    notebooks = []
    for path in sorted(filter(is_notebook_path, files)):
        try:
            notebooks.append(load_notebook(path, files[path]))
        except NotebookError as error:
            logger.warning("left out a notebook: %s", error)
    return notebooks


def _select(
    notebooks: list[Notebook],
    job: Job,
    purpose: Purpose,
    pointers: Pointers,
    own_names: frozenset[str],
) -> Selection:
    verses = job.training if purpose is Purpose.TRAIN else job.inference
    if purpose is Purpose.TRAIN:
        selection = select_for_training(notebooks, verses, pointers, own_names)
    elif purpose is Purpose.TRANSCRIBE:
        selection = select_for_transcription(notebooks, verses, pointers)
    else:
        selection = select_for_speech(notebooks, verses)
    selection.require_matches(verses)
    if selection.unmatched:
        named = ", ".join(selection.unmatched[:MOST_NAMED])
        logger.warning("%d listed verses do not exist: %s", len(selection.unmatched), named)
    logger.info(
        "chose %d cells to %s, left out %d", len(selection.chosen), purpose, len(selection.skipped)
    )
    return selection


def _fetch_audio(
    store: ProjectStore,
    files: Mapping[str, bytes],
    chosen: Iterable[ChosenCell],
    stray_dir: Path,
    progress: TransferProgress,
) -> tuple[dict[str, Path], dict[str, Skipped]]:
    """Local files by pointer path, and the cells whose recording cannot be had."""
    with_audio = [(one, one.pointer_path) for one in chosen if one.pointer_path]
    pointers: dict[str, Pointer] = {}
    fetched: dict[str, Path] = {}
    for _, path in with_audio:
        pointer = parse_pointer(files[path])
        if pointer is not None:
            pointers[path] = pointer
        elif files[path]:
            fetched[path] = _keep(files[path], stray_dir)
    objects = store.fetch_objects(set(pointers.values()), progress) if pointers else {}
    fetched |= {path: objects[p.oid] for path, p in pointers.items() if p.oid in objects}
    unavailable = {
        one.cell.id: Skipped(
            one.cell.id, one.cell.reference, "its recording is missing on the server"
        )
        for one, path in with_audio
        if path not in fetched
    }
    return fetched, unavailable


def _keep(content: bytes, stray_dir: Path) -> Path:
    stray_dir.mkdir(parents=True, exist_ok=True)
    path = stray_dir / hashlib.sha256(content).hexdigest()
    path.write_bytes(content)
    return path
