"""The one place of the supervisor's side that catches whatever foreign code raises: tasks, callbacks, masks.

    with boundary("run"):          anything but control flow becomes `Raised`;
        output = task.run(item)    the caller turns that into an answer, and lives on

Knows no answer. The child's own outermost boundary, which control flow must not pass either, is in `runner.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runner.frames import JsonObject
from runner.remote_error import describe


class Raised(Exception):
    """Foreign code raised; `error` is what."""

    def __init__(self, error: Exception, phase: str) -> None:
        super().__init__(phase)
        self.error = error
        self.phase = phase

    @property
    def fields(self) -> JsonObject:
        """The error as plain data, with its traceback and what caused it."""
        return describe(self.error, self.phase)


@contextmanager
def boundary(phase: str) -> Iterator[None]:
    """Run foreign code inside.

    Args:
        phase: what it is doing, for the description.

    Raises:
        Raised: whatever it raised, but not `BaseException`s such as a cancellation.
    """
    try:
        yield
    except Exception as error:
        raise Raised(error, phase) from error
