"""What an executor's future may raise, sorted by whose fault it is.

RunnerError
├─ TaskFailed      `Task.run` raised: this item fails, the worker lives on
├─ TaskTimeout     the item took longer than it may: its process was ended
├─ SlotDied        the process ended under the item (crash, out of memory, protocol)
├─ QueueFull       too much is waiting; try again after a while
└─ PoolClosed      the executor was closed
   └─ NoWorker     none of its workers can start
"""

from __future__ import annotations

from runner.verdict import Verdict


class RunnerError(Exception):
    """Root of what an executor raises on purpose."""

    code = "INTERNAL"


class TaskFailed(RunnerError):
    """An exception of the task, carried over from its process."""

    def __init__(self, kind: str, message: str, *, code: str = "", traceback: str = "") -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.code = code or "HANDLER_ERROR"
        self.traceback = traceback


class TaskTimeout(RunnerError):
    """An item that was not finished in time."""

    code = "STAGE_TIMEOUT"

    def __init__(self, timeout_s: float, what: str = "the item") -> None:
        super().__init__(f"{what} took longer than {timeout_s:g} s")
        self.timeout_s = timeout_s


class SlotDied(RunnerError):
    """The process that worked on the item is gone."""

    def __init__(self, verdict: Verdict, detail: str) -> None:
        super().__init__(f"{verdict}: {detail}")
        self.code = verdict.value
        self.verdict = verdict
        self.detail = detail


class QueueFull(RunnerError):
    """The bounded queue has no room."""

    code = "WORKER_BUSY"

    def __init__(self, waiting: int, retry_after_s: float) -> None:
        super().__init__(f"{waiting} items are waiting; try again in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class PoolClosed(RunnerError):
    """No more items are taken, for the reason in the message."""

    code = "RUNNER_INTERRUPTED"


class NoWorker(PoolClosed):
    """None of the workers can be started; nobody told the pool to end."""
