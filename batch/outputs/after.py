"""What is done with a file's outputs once they are written: proofreading, and wherever results are sent.

    write ─► [AfterWriting, AfterWriting, …] ─► the file is complete

Runs in threads of the batch's own process (the conductors), several files at once, each kind within its own limit.
One that fails is a warning: the outputs are there all the same. A file counts as complete only afterwards, so that
a run that was killed in between does it again. A run that has to end at once does not wait for whoever is asked.
Knows none of them but by name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from batch.flow import Warned
from batch.recordings.source import Asset
from batch.settings import BatchSettings
from batch.side_by_side import POLL_S
from pipelines.asr.whisper.outputs import Result
from pipelines.errors import PipelineError
from runner.errors import PoolClosed

Do = Callable[[Asset, Result, Sequence[Path]], None]
"""Takes a recording, everything that is known about it, and the files that were written.

Raises `PipelineError` or `OSError` where it failed."""


@dataclass(frozen=True, slots=True)
class AfterWriting:
    """One thing that is done after writing; `do` must be safe to call from several threads."""

    name: str
    do: Do
    at_once: int = 4
    """Files that it is done for at the same time."""
    endings: tuple[str, ...] = ()
    """Of the files that it leaves beside the outputs; where one is missing, it is done again."""
    _room: threading.Semaphore = field(init=False, repr=False, compare=False)
    _left: threading.Event = field(
        default_factory=threading.Event, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Make its own limit."""
        object.__setattr__(self, "_room", threading.Semaphore(self.at_once))

    def attempt(self, asset: Asset, result: Result, paths: Sequence[Path]) -> Warned | None:
        """Do it; what went wrong, or None."""
        ended: list[Warned | None] = []
        done = threading.Event()

        def work() -> None:
            try:
                with self._room:
                    ended.append(self._tried(asset, result, paths))
            finally:
                done.set()

        # A thread that nobody joins: it may wait for somebody who never answers.
        threading.Thread(target=work, name=self.name, daemon=True).start()
        while not done.wait(POLL_S):
            if self._left.is_set():
                return Warned(self.name, PoolClosed.code, "the run was told to end at once")
        if not ended:
            raise RuntimeError(f"{self.name} failed in a way that it should not")
        return ended[0]

    def leave(self) -> None:
        """Wait no longer for what is being done, nor for what will be."""
        self._left.set()

    def _tried(self, asset: Asset, result: Result, paths: Sequence[Path]) -> Warned | None:
        try:
            self.do(asset, result, paths)
        except PipelineError as error:
            return Warned(self.name, error.code, str(error))
        except OSError as error:
            return Warned(self.name, "DISK_FULL", str(error))
        return None


def attempt_all(
    after: Iterable[AfterWriting], asset: Asset, result: Result, paths: Sequence[Path]
) -> tuple[Warned, ...]:
    """Do all of them, whatever becomes of each."""
    ended = [one.attempt(asset, result, paths) for one in after]
    return tuple(warned for warned in ended if warned is not None)


@contextmanager
def opened(settings: BatchSettings) -> Iterator[tuple[AfterWriting, ...]]:
    """Everything that the command line wants done after writing; closed at the end of the block.

    Raises:
        CannotRun: one of them cannot work at all.
        InputMissing: a file that it needs cannot be read.
    """
    with ExitStack() as stack:
        after: list[AfterWriting] = []
        if settings.refine:
            from batch.outputs.refining import refining  # its libraries are not loaded for nothing

            after.append(stack.enter_context(refining(settings)))
        yield tuple(after)
