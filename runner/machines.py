"""The two state machines of a pool, never mixed: the worker's and the request's.

    worker   spawning → loading → idle ⇄ processing → recycling → terminated
                 └─────────┴───────┴──────────┴→ failed → (back-off) → spawning
             any living state → stopping → terminated

    request  queued → assigned → running → succeeded | failed | timed_out | cancelled
               ▲         └──────────┴─ worker crashed: back to the front

Pure tables: who may go where. A step that is not in the table is a bug and raises.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Generic, TypeVar


class WorkerState(StrEnum):
    """Where one worker stands."""

    SPAWNING = "spawning"
    LOADING = "loading"
    IDLE = "idle"
    PROCESSING = "processing"
    RECYCLING = "recycling"
    FAILED = "failed"
    STOPPING = "stopping"
    TERMINATED = "terminated"


class RequestState(StrEnum):
    """Where one item stands."""

    QUEUED = "queued"
    ASSIGNED = "assigned"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


_W, _R = WorkerState, RequestState

WORKER_STEPS: dict[WorkerState, frozenset[WorkerState]] = {
    _W.SPAWNING: frozenset({_W.LOADING, _W.FAILED, _W.STOPPING}),
    _W.LOADING: frozenset({_W.IDLE, _W.FAILED, _W.STOPPING}),
    _W.IDLE: frozenset({_W.PROCESSING, _W.RECYCLING, _W.FAILED, _W.STOPPING}),
    _W.PROCESSING: frozenset({_W.IDLE, _W.FAILED, _W.STOPPING}),
    _W.RECYCLING: frozenset({_W.SPAWNING, _W.FAILED, _W.STOPPING}),
    _W.FAILED: frozenset({_W.SPAWNING, _W.STOPPING}),
    _W.STOPPING: frozenset({_W.TERMINATED}),
    # An unloaded worker comes back when there is work for it.
    _W.TERMINATED: frozenset({_W.SPAWNING}),
}

REQUEST_STEPS: dict[RequestState, frozenset[RequestState]] = {
    _R.QUEUED: frozenset({_R.ASSIGNED, _R.FAILED, _R.TIMED_OUT, _R.CANCELLED}),
    _R.ASSIGNED: frozenset({_R.RUNNING, _R.QUEUED, _R.FAILED, _R.CANCELLED}),
    _R.RUNNING: frozenset({_R.SUCCEEDED, _R.FAILED, _R.TIMED_OUT, _R.CANCELLED, _R.QUEUED}),
    _R.SUCCEEDED: frozenset(),
    _R.FAILED: frozenset(),
    _R.TIMED_OUT: frozenset(),
    _R.CANCELLED: frozenset(),
}

PUBLIC_NAMES: dict[WorkerState, str] = {
    _W.IDLE: "idle",
    _W.PROCESSING: "processing",
    _W.FAILED: "failed",
    _W.STOPPING: "terminated",
    _W.TERMINATED: "terminated",
}
"""The names that the design gives to those states which a user can observe."""

_State = TypeVar("_State", bound=StrEnum)


class IllegalStep(Exception):
    """A step that the table does not have."""


class Machine(Generic[_State]):
    """One current state and the only way to change it."""

    def __init__(self, start: _State, steps: dict[_State, frozenset[_State]]) -> None:
        self._steps = steps
        self.state = start

    def to(self, state: _State) -> None:
        """Take a step.

        Raises:
            IllegalStep: it is not in the table; the state stays.
        """
        if state not in self._steps[self.state]:
            raise IllegalStep(f"{self.state} → {state}")
        self.state = state


def worker_machine() -> Machine[WorkerState]:
    """A worker that is about to start."""
    return Machine(WorkerState.SPAWNING, WORKER_STEPS)


def request_machine() -> Machine[RequestState]:
    """A request that has just come in."""
    return Machine(RequestState.QUEUED, REQUEST_STEPS)
