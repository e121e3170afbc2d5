"""One item on its way through a pool. Knows no worker."""

from __future__ import annotations

import time
from concurrent.futures import Future

from runner.errors import RunnerError
from runner.frames import JsonObject
from runner.machines import RequestState, request_machine


class Request:
    """An item, its future, and where it stands."""

    def __init__(self, item: JsonObject, timeout_s: float, audio_s: float) -> None:
        self.item = item
        self.timeout_s = timeout_s
        self.audio_s = audio_s
        self.crashes = 0
        self.is_unwanted = False
        """Nobody waits for it any more: its process is ended, and it is not tried again."""
        self.came_at = time.monotonic()
        self.future: Future[JsonObject] = Future()
        self._began_at: float | None = None
        self._machine = request_machine()

    @property
    def state(self) -> RequestState:
        """Where it stands."""
        return self._machine.state

    def assign(self) -> bool:
        """Give it to a worker; False if its owner has cancelled it meanwhile."""
        # A future that came back after a crash is marked as running already.
        if not self.future.running() and not self.future.set_running_or_notify_cancel():
            self._machine.to(RequestState.CANCELLED)
            return False
        self._machine.to(RequestState.ASSIGNED)
        return True

    def begin(self) -> None:
        """Start the clock of its work."""
        self._machine.to(RequestState.RUNNING)
        self._began_at = time.monotonic()

    def requeue(self) -> None:
        """Take it back from a worker that died."""
        self._machine.to(RequestState.QUEUED)
        self._began_at = None

    def end(self, state: RequestState, outcome: JsonObject | RunnerError) -> bool:
        """Reach a final state and tell the owner; False if the owner cancelled it first."""
        if not self.future.running() and not self.future.set_running_or_notify_cancel():
            self._machine.to(RequestState.CANCELLED)
            return False
        self._machine.to(state)
        if isinstance(outcome, RunnerError):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)
        return True

    def waited_s(self, now: float) -> float:
        """From the queue to its (last) beginning."""
        return (self._began_at or now) - self.came_at

    def ran_s(self, now: float) -> float:
        """Since its beginning; 0 before."""
        return now - self._began_at if self._began_at is not None else 0.0
