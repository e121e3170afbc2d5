"""What a translator does to a project, at random but by a seed, and a memory of it to compare with later.

person = Habits(translator, rng, clock, memory)
person.do_something()                # types, records, deletes, locks, deselects, cancels, deletes a job, syncs
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from chaos.translator import Translator
from support.codex_builders import edit, take

from gitlab_jobs.lfs import Pointer
from gitlab_jobs.paths import MANIFEST_PATH, job_folder

Json = dict[str, Any]
Place = tuple[str, str]
"""A notebook and a cell of it."""


@dataclass
class Memory:
    """All that people did, of each kind the newest: it must be what the project ends with."""

    texts: dict[Place, tuple[int, str]] = field(default_factory=dict)
    choices: dict[Place, tuple[int, str]] = field(default_factory=dict)
    recorded: set[tuple[Place, str]] = field(default_factory=set)
    deleted_takes: set[tuple[Place, str]] = field(default_factory=set)
    deleted: set[Place] = field(default_factory=set)
    locked: set[Place] = field(default_factory=set)
    touched: set[Place] = field(default_factory=set)
    wants_cancel: bool = False
    wants_deletion: bool = False
    acts: int = 0
    syncs: int = 0


class Habits:
    """One person; several share a memory and a clock that never shows a time twice."""

    def __init__(
        self, who: Translator, rng: random.Random, clock: Iterator[int], memory: Memory, job_id: str
    ) -> None:
        self._who = who
        self._rng = rng
        self._clock = clock
        self._memory = memory
        self._job_id = job_id

    def do_something(self) -> None:
        """Edit a few cells, sync, or (seldom) stop the job; more editing than syncing."""
        drawn = self._rng.random()
        if drawn < 0.45:
            self.sync()
        elif drawn < 0.96:
            self._edit_cell()
        elif drawn < 0.985:
            self._cancel()
        else:
            self._delete_job()

    def sync(self) -> None:
        """Share and take over."""
        self._memory.syncs += 1
        self._who.sync()

    def _edit_cell(self) -> None:
        notebooks = sorted(path for path in self._who.files if path.endswith(".codex"))
        notebook = self._rng.choice(notebooks)
        act = self._rng.choice(
            (self._type, self._type, self._record, self._delete_takes, self._clear, self._flag)
        )

        def change(document: Json) -> None:
            cell = self._rng.choice(document["cells"])
            place = (notebook, cell["metadata"]["id"])
            self._memory.touched.add(place)
            act(cell, place, next(self._clock))

        self._memory.acts += 1
        self._who.edit_notebook(notebook, change)

    def _type(self, cell: Json, place: Place, at: int) -> None:
        cell["value"] = self._rng.choice((f"typed at {at}", ""))
        cell["metadata"]["edits"].append(edit(cell["value"], at))
        self._memory.texts[place] = (at, cell["value"])

    def _record(self, cell: Json, place: Place, at: int) -> None:
        name = f"audio-by-{self._who.name}-{at}"
        metadata = cell["metadata"]
        metadata.setdefault("attachments", {}).update(take(name, at))
        metadata |= {"selectedAudioId": name, "selectionTimestamp": at}
        pointer = Pointer(f"{at:064x}", 1000)
        self._who.files[f".project/attachments/pointers/MAT/{name}.webm"] = pointer.text()
        self._memory.recorded.add((place, name))
        self._memory.choices[place] = (at, name)

    def _delete_takes(self, cell: Json, place: Place, at: int) -> None:
        metadata = cell["metadata"]
        for name, attachment in metadata.get("attachments", {}).items():
            attachment |= {"isDeleted": True, "updatedAt": at}
            self._memory.deleted_takes.add((place, name))
        metadata |= {"selectedAudioId": "", "selectionTimestamp": at}
        self._memory.choices[place] = (at, "")

    def _clear(self, cell: Json, place: Place, at: int) -> None:
        cell["metadata"] |= {"selectedAudioId": "", "selectionTimestamp": at}
        self._memory.choices[place] = (at, "")

    def _flag(self, cell: Json, place: Place, at: int) -> None:
        deletes = self._rng.random() < 0.5
        path = ["metadata", "data", "deleted"] if deletes else ["metadata", "isLocked"]
        (self._memory.deleted if deletes else self._memory.locked).add(place)
        target = cell["metadata"]["data"] if deletes else cell["metadata"]
        target[path[-1]] = True
        cell["metadata"]["edits"].append({**edit("", at), "editMap": path, "value": True})

    def _cancel(self) -> None:
        files = self._who.files
        if MANIFEST_PATH in files:
            text = files[MANIFEST_PATH].replace(b"canceled: false", b"canceled: true")
            files[MANIFEST_PATH] = text
            self._memory.wants_cancel = True

    def _delete_job(self) -> None:
        folder = job_folder(self._job_id)
        if any(path.startswith(f"{folder}/") for path in self._who.files):
            self._who.delete_folder(folder)
            self._who.files[MANIFEST_PATH] = b"version: 1\njobs: []\n"
            self._memory.wants_deletion = True
