"""Gives finished transcripts to the sinks, beside the batch: neither a device nor a file waits for one.

    hook after writing ─┐
    start of a run ─────┴─► queue ─► threads ─► entities, then database, then upload ─► finished()
        (finished files whose sinks are not done)                                        │
                                                             the loop notes marks and warnings

A sink that fails is a warning; its mark is missing from the file's record then, and the next run gives it the stored
JSON again. One that fails again and again is left alone for the rest of the run. Knows no state file.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from batch.flags.sinks import DATABASE, ENTITIES, UPLOAD, asset_id_of, marks
from batch.flow import Warned
from batch.recordings.source import Asset
from batch.settings import BatchSettings
from batch.sinks.handed import Handed
from batch.sinks.steps import Step, chosen_steps
from pipelines.errors import PipelineError
from runner.errors import RunnerError

THREADS = 4
MOST_IN_A_ROW = 5
"""Failures of a step after which it is left alone."""
LEFT_ALONE = "SINK_LEFT_ALONE"
_FED_BY_ENTITIES = frozenset([DATABASE, UPLOAD])


@dataclass(frozen=True, slots=True)
class Stored:
    """What the sinks made of one file: marks of those that are done, warnings of the others."""

    name: str
    marks: Mapping[str, str]
    warnings: tuple[Warned, ...]


class Sinks:
    """The chosen sinks at work; files come from any thread."""

    def __init__(self, settings: BatchSettings, scratch: Path) -> None:
        """Choose; nothing is connected yet.

        Raises:
            CannotRun: a library is missing, or nobody says which region.
        """
        self._settings = settings
        self._marks = marks(settings, settings.output_dir)
        self._steps = chosen_steps(settings, scratch)
        self._in_a_row: Counter[Step] = Counter()
        self._finished: queue.SimpleQueue[Stored] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._given: queue.SimpleQueue[tuple[Handed, set[str]] | None] = queue.SimpleQueue()
        self._is_closed = False
        # Daemons: a service that does not answer must not keep a program that was told to end at once.
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(THREADS)]
        if self._steps:
            for thread in self._threads:
                thread.start()

    @property
    def are_wanted(self) -> bool:
        """Whether the operator has chosen any."""
        return bool(self._steps)

    @property
    def waiting(self) -> int:
        """Files that were given and are not among `finished` yet."""
        return self._waiting

    def undone(self, done: Mapping[str, str]) -> frozenset[str]:
        """The sinks that a file's marks do not show."""
        return frozenset(name for name, mark in self._marks.items() if done.get(name) != mark)

    def give(
        self, asset: Asset, files: Sequence[Path], todo: Collection[str] | None = None
    ) -> None:
        """Queue one file.

        Args:
            asset: the recording.
            files: its outputs, the JSON first.
            todo: the sinks that want it; all of them, unless given.
        """
        if not self._steps:
            return
        handed = Handed(
            asset_id_of(self._settings, asset.name), asset.name, asset.location, tuple(files)
        )
        with self._lock:
            self._waiting += 1
        self._given.put((handed, set(self._marks if todo is None else todo)))

    def finished(self, wait_s: float = 0.0) -> list[Stored]:
        """What has come to an end since the last call; waits a little for the first if asked."""
        found: list[Stored] = []
        try:
            found.append(
                self._finished.get(timeout=wait_s) if wait_s else self._finished.get_nowait()
            )
            while True:
                found.append(self._finished.get_nowait())
        except queue.Empty:
            pass
        with self._lock:
            self._waiting -= len(found)
        return found

    def close(self, grace_s: float = 10.0) -> None:
        """Forget what waits; the next run catches up. What is being stored has some time to end."""
        self._is_closed = True
        for _ in self._threads:
            self._given.put(None)
        deadline = time.monotonic() + grace_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        for step in self._steps:
            step.close(0.0)

    def _work(self) -> None:
        while (given := self._given.get()) is not None and not self._is_closed:
            self._finished.put(self._store(*given))

    def _store(self, handed: Handed, todo: set[str]) -> Stored:
        done: set[str] = set()
        warnings: list[Warned] = []
        for step in self._steps:
            wanted = todo & step.sinks
            if not wanted or self._in_a_row[step] >= MOST_IN_A_ROW:
                continue
            warned = self._attempt(step, handed, wanted)
            warnings += warned
            done |= wanted - {one.step for one in warned}
            if ENTITIES in done:
                todo |= _FED_BY_ENTITIES & self._marks.keys()
        kept = {name: self._marks[name] for name in done}
        return Stored(handed.name, kept, tuple(warnings))

    def _attempt(self, step: Step, handed: Handed, wanted: set[str]) -> list[Warned]:
        try:
            warned = list(step.store(handed))
        except (PipelineError, RunnerError) as error:
            warned = _each(wanted, error.code, str(error))
        except (OSError, ValueError, KeyError) as error:
            warned = _each(wanted, "SINK_FAILED", f"{type(error).__name__}: {error}")
        else:
            self._in_a_row[step] = 0
            return warned
        with self._lock:
            self._in_a_row[step] += 1
            is_over = self._in_a_row[step] == MOST_IN_A_ROW
        if is_over:
            words = f"failed {MOST_IN_A_ROW} times in a row; the next run tries it again"
            warned += _each(wanted, LEFT_ALONE, words)
        return warned


def _each(sinks: Collection[str], code: str, message: str) -> list[Warned]:
    return [Warned(sink, code, message) for sink in sorted(sinks)]
