"""A child that is given one ticket after another and keeps in memory what it has loaded.

    caller ─ Turn ─► first: a new process        ┌─► entry works on the ticket (`runner.turns`)
                     later: the reply to "done" ─┘      requests, progress, log: those of this turn
    caller ◄─ ChildExit ◄─ "done" with a result: the child stays, idle
                        ◄─ anything else: the child's own end, and the end of the turn

To who waits for it a turn is a child of its own: it can be cancelled and killed, has a log file of its own,
and ends with a `ChildExit`. Only success leaves a child alive. Knows no job, and not when to use it again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.child_process import ChildProcess
from runner.frames import JsonObject
from runner.gpu_growth import GpuBytes, gpu_bytes_of
from runner.log_pipe import Mask
from runner.peak import Peak
from runner.serving import Progress, Serve
from runner.slot import Recycle
from runner.spec import ChildSpec
from runner.turns import DONE, NEXT
from runner.verdict import ChildExit, Usage, Verdict

logger = logging.getLogger(__name__)

_LOG_WAIT_S = 5.0
_LEAVE_S = 10.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a turn talks to; see `ChildProcess`."""

    serve: Serve
    on_progress: Progress
    on_peak: Callable[[Peak], None]
    """Told how much memory the process has held so far, when a turn has succeeded."""


class ReusableChild:
    """One process, from its first turn to its end. Safe from any thread."""

    def __init__(
        self, idle_log: Path, mask: Mask, recycle: Recycle, gpu_bytes: GpuBytes = gpu_bytes_of
    ) -> None:
        """Prepare a child; it starts with its first turn.

        Args:
            idle_log: where it prints between two turns.
            mask: removes secrets from what it prints.
            recycle: when it leaves although it could go on.
            gpu_bytes: reads what it holds on its GPU, after every turn.
        """
        self._idle_log = idle_log
        self._mask = mask
        self._recycle = recycle
        self._gpu_bytes = gpu_bytes
        self._gpu = recycle.gpu_growth()
        self._lock = threading.Lock()
        self._process: ChildProcess | None = None
        self._turn: Turn | None = None
        self._handoff: queue.SimpleQueue[JsonObject | None] = queue.SimpleQueue()
        self._begun_at = time.monotonic()
        self._turns = 0
        self._has_begun = False
        self._is_going = False
        self._used = Usage(0, 0.0, 0.0, 0.0)
        self.left_for: str | None = None
        """Which limit it leaves for, after a turn that has succeeded; None if it would not stay anyway."""
        self.idle_since: float | None = None
        """Monotonic; None while it works or before it has begun."""

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a ticket."""
        with self._lock:
            return self._waits

    @property
    def pid(self) -> int | None:
        """The process, once there is one."""
        return self._process.pid if self._process is not None and self._has_begun else None

    def turn(self, spec: ChildSpec, caller: Caller) -> Turn | None:
        """Begin a turn; None if the child is not (or no longer) there for it.

        Raises:
            OSError, FrameError: it is the first one, and no process could be started.
        """
        with self._lock:
            process = self._process
            if process is not None and not self._waits:
                return None
            turn = Turn(self, spec, caller, is_first=process is None)
            self._turn, self.idle_since = turn, None
            self._turns += 1
        if process is None:
            self._begin(turn)
        else:
            # Carried out before the reply that hands the ticket over, since both go through one inbox.
            process.redirect_log(spec.log_path)
            self._handoff.put(dict(spec.payload))
        return turn

    def leave(self) -> ChildExit | None:
        """Have an idle child end, and see it out; one at work ends after its turn, which is not awaited."""
        with self._lock:
            was_idle, self._is_going = self._waits, True
        if not was_idle:
            return None
        self._handoff.put(None)
        ended = self._running.wait(_LEAVE_S)
        if ended is None:
            self._running.kill("its time was over")
            ended = self._running.wait(None)
        return ended

    @property
    def _waits(self) -> bool:
        return self._process is not None and self._turn is None and not self._is_going

    @property
    def _running(self) -> ChildProcess:
        if self._process is None:
            raise RuntimeError("the child has not begun")
        return self._process

    def _begin(self, turn: Turn) -> None:
        process = ChildProcess(
            turn.spec,
            serve=self._serve,
            on_progress=lambda fields: self._caller_of_turn().on_progress(fields),
            mask=self._mask,
            on_end=self._note_end,
        )
        self._process = process
        process.start()
        self._has_begun = True

    def _caller_of_turn(self) -> Caller:
        turn = self._turn
        return turn.caller if turn is not None else _NOBODY

    def _serve(self, name: str, payload: JsonObject) -> JsonObject:
        """Carry out a request, in the request thread of the child."""
        turn = self._turn
        if turn is None:
            raise LookupError(f"there is nobody to ask for {name} between two turns")
        turn.was_heard = True
        if name != DONE:
            return turn.caller.serve(name, payload)
        turn.caller.on_peak(Peak.from_json(payload["peak"]))
        device, pid = turn.spec.device, self._running.pid
        self._gpu.look(lambda: self._gpu_bytes(device, pid), time.monotonic())
        if not self._stays(payload):
            return {}
        self._close_log()
        self._end_turn(turn, payload)
        # A cancel that came a moment too late for this turn was meant for nobody else.
        ticket = None if self._is_going else self._handoff.get()
        return {} if ticket is None else {NEXT: ticket}

    def _stays(self, payload: JsonObject) -> bool:
        reason = self._limit_reached(payload) if payload["stays"] else None
        with self._lock:
            if reason is not None and not self._is_going:
                self.left_for = reason
                logger.info("process %d leaves: %s", self._running.pid, reason)
            self._is_going |= reason is not None or not payload["stays"]
            return not self._is_going

    def _limit_reached(self, payload: JsonObject) -> str | None:
        age_s = time.monotonic() - self._begun_at
        return self._recycle.reason(self._turns, age_s, self._gpu, payload["grown_bytes"])

    def _close_log(self) -> None:
        """Wait until all that the turn has printed is in its file."""
        closed = threading.Event()
        self._running.redirect_log(self._idle_log, closed.set)
        closed.wait(_LOG_WAIT_S)

    def _end_turn(self, turn: Turn, payload: JsonObject) -> None:
        before, peak = self._used, Peak.from_json(payload["peak"])
        now = Usage(peak.host_bytes, payload["user_s"], payload["system_s"], 0.0)
        with self._lock:
            self._used = now
            self._turn, self.idle_since = None, time.monotonic()
        turn.succeed(payload["result"], _since(now, before, turn.begun_at))

    def _note_end(self) -> None:
        """The process is gone; called by the thread that minds it."""
        with self._lock:
            self._is_going = True
            turn = self._turn
        self._handoff.put(None)
        if turn is not None:
            turn.has_ended.set()

    def stop_turn(self, turn: Turn, end: Callable[[ChildProcess], None]) -> None:
        """End the process for the sake of a turn, unless that has ended; it gets no other one."""
        with self._lock:
            if self._turn is not turn:
                return
            self._is_going = True
        end(self._running)

    def end_of(self, turn: Turn) -> ChildExit | None:
        """How the process ended under a turn."""
        ended = self._running.wait(None)
        if ended is None:
            return None
        return replace(ended, usage=_since(ended.usage, self._used, turn.begun_at))


@dataclass(slots=True)
class Turn:
    """One ticket's time in a child; looks like a `ChildProcess` that has been started."""

    child: ReusableChild
    spec: ChildSpec
    caller: Caller
    is_first: bool
    was_heard: bool = False
    """Whether the child has asked for anything in this turn."""
    begun_at: float = field(default_factory=time.monotonic)
    has_ended: threading.Event = field(default_factory=threading.Event)
    _exit: ChildExit | None = None
    _has_left_child: bool = False

    def cancel(self, reason: str) -> None:
        """Ask the child to stop, then make it; returns at once."""
        self.child.stop_turn(self, lambda process: process.cancel(reason))

    def kill(self, reason: str) -> None:
        """End the child's whole tree now; returns at once."""
        self.child.stop_turn(self, lambda process: process.kill(reason))

    def wait(self, timeout_s: float | None) -> ChildExit | None:
        """Wait for the end; None if it did not come in time."""
        if not self.has_ended.wait(timeout_s):
            return None
        if self._exit is None:
            self._exit = self.child.end_of(self)
        return self._exit

    @property
    def has_left_child(self) -> bool:
        """Whether the process outlives this turn, idle."""
        return self._has_left_child

    def succeed(self, result: JsonObject, usage: Usage) -> None:
        """Take the result of a child that stays."""
        self._has_left_child = True
        self._exit = ChildExit(
            verdict=Verdict.SUCCEEDED,
            result=result,
            error=None,
            cancel_reason=None,
            exit_code=None,
            signal=None,
            usage=usage,
            last_lines=(),
        )
        self.has_ended.set()


def _since(now: Usage, before: Usage, begun_at: float) -> Usage:
    """What one turn of several has used; the most memory is the process's own."""
    return Usage(
        now.max_rss_bytes,
        max(0.0, now.user_s - before.user_s),
        max(0.0, now.system_s - before.system_s),
        time.monotonic() - begun_at,
    )


def _refuse(name: str, _payload: JsonObject) -> JsonObject:
    raise LookupError(f"there is nobody to ask for {name}")


def _ignore(_: object) -> None:
    pass


_NOBODY = Caller(_refuse, _ignore, _ignore)
