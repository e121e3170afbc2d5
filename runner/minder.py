"""The thread that belongs to a running child: the only place where its parts meet.

    socket ───► ParentLine ─► Conversation ─► RequestServer ─► reply ──┐
    log pipe ─► ChildLog                                               ▼
    death fd ─► reap, judge ─► ChildExit         cancel(), kill() ─► inbox ─► Ladder, socket

All state of a child is touched by this thread only; other threads put orders into the inbox and wake it.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from runner.boundary import Raised, boundary
from runner.conversation import Conversation
from runner.frames import FrameError, JsonObject
from runner.group import Group
from runner.inbox import Inbox
from runner.keeper import DUMP_STACKS, END_TREE, KeeperReport
from runner.ladder import Ladder, Rung
from runner.launch import Launched
from runner.line import ParentLine
from runner.log_pipe import ChildLog, Mask
from runner.marker import Marker, kill_marked
from runner.oom import explain_kill, read_oom_counts
from runner.orders import Orders
from runner.serving import Progress, RequestServer, Serve, StopChild
from runner.spec import ChildSpec
from runner.tree_memory import MemoryWatch
from runner.verdict import ChildExit, Observed, RemoteError, Usage, Verdict, judge, untold_end

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 256 * 1024
_LONGEST_SLEEP_S = 5.0
_SUSPENDED_AFTER_S = 30.0
"""A loop that was away longer than it slept was itself stopped: no deadline has passed."""


class Minder:
    """Talks to, watches and ends one started child."""

    def __init__(
        self, spec: ChildSpec, launched: Launched, marker: Marker, group: Group | None, mask: Mask
    ) -> None:
        now = time.monotonic()
        self._spec = spec
        self._launched = launched
        self._marker = str(marker)
        self._group = group
        self._started_at = now
        self._oom_before = read_oom_counts()
        self._conversation = Conversation(spec.limits, now)
        self._ladder = Ladder(spec.limits)
        self._memory = MemoryWatch(spec.limits.memory_bytes, spec.limits.memory_interval_s, now)
        self._line = ParentLine(launched.connection)
        self._line.send("config", orders_for(spec, launched, group).to_json())
        self._log = ChildLog(spec.log_path, mask, spec.limits.log_bytes)
        self._inbox = Inbox()
        self._violation: str | None = None
        self._cancel_reason: str | None = None
        self._forced: tuple[Verdict, str] | None = None
        self._hung_up_at: float | None = None
        self._is_dead = False
        self._exit: ChildExit | None = None

    # Called from any thread.

    def start(self, serve: Serve, on_progress: Progress, on_end: Callable[[], None]) -> None:
        """Begin to mind the child."""
        name = f"child-{self._launched.pid}"
        self._server = RequestServer(serve, self._reply, self.cancel, f"{name}-requests")
        self._on_progress = on_progress
        self._on_end = on_end
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The worker's, or the keeper's until the worker has said hello."""
        return self._conversation.worker_pid or self._launched.pid

    def cancel(self, reason: str) -> None:
        """Ask, and go down the ladder if that does not help."""
        self._inbox.post(lambda: self._begin_end(reason, Rung.ASKED))

    def kill(self, reason: str) -> None:
        """Go to the end of the ladder."""
        self._inbox.post(lambda: self._begin_end(reason, Rung.KILLING))

    def wait(self, timeout_s: float | None) -> ChildExit | None:
        """Wait for the end; None if it did not come in time."""
        self._thread.join(timeout_s)
        return self._exit

    def redirect_log(self, path: Path, then: Callable[[], None]) -> None:
        """Write what was printed so far where it belongs, and what follows to another file."""
        self._inbox.post(lambda: self._redirect_log(path, then))

    def _reply(self, fields: JsonObject) -> None:
        self._inbox.post(lambda: self._send_reply(fields))

    # Everything below runs in the minder's own thread.

    def _run(self) -> None:
        try:
            with boundary("mind"):
                self._loop()
        except Raised:
            logger.exception("minding child %d failed; its tree is ended", self._launched.pid)
            self._force(Verdict.INTERNAL, "the supervisor failed while minding the child")
            self._launched.send(END_TREE)
        try:
            with boundary("conclude"):
                self._exit = self._conclude()
        except Raised as raised:
            logger.exception("the end of child %d could not be told", self._launched.pid)
            self._exit = untold_end(str(raised.error), self._cancel_reason)

    def _loop(self) -> None:
        launched = self._launched
        os.set_blocking(launched.log_fd, False)
        with selectors.DefaultSelector() as selector:
            selector.register(launched.connection, selectors.EVENT_READ, self._talk)
            selector.register(launched.log_fd, selectors.EVENT_READ, self._read_log)
            selector.register(launched.death_fd, selectors.EVENT_READ, self._note_death)
            selector.register(self._inbox, selectors.EVENT_READ, self._read_inbox)
            while not self._is_dead:
                self._turn(selector)

    def _turn(self, selector: selectors.BaseSelector) -> None:
        self._watch_connection(selector)
        before = time.monotonic()
        wake_at = min(self._next_deadline(), self._memory.next_at)
        sleep_s = max(0.0, min(_LONGEST_SLEEP_S, wake_at - before))
        for key, _ in selector.select(sleep_s):
            if key.data() is False:
                selector.unregister(key.fileobj)
        now = time.monotonic()
        if now - before > sleep_s + _SUSPENDED_AFTER_S:
            self._conversation.postpone(now - before)
            self._ladder.postpone(now - before)
        self._check_deadlines(now)
        self._check_memory(now)

    def _watch_connection(self, selector: selectors.BaseSelector) -> None:
        connection = self._launched.connection
        if self._line.has_ended or connection not in selector.get_map():
            return
        events = selectors.EVENT_READ
        if self._line.wants_to_write:
            events |= selectors.EVENT_WRITE
        selector.modify(connection, events, self._talk)

    # What may happen; False means that this source has nothing more to say.

    def _talk(self) -> bool:
        self._line.write()
        try:
            for frame in self._line.read() or ():
                self._hear(frame)
        except FrameError as error:
            self._violation = str(error)
            self._enter(Rung.KILLING)
            return False
        if self._line.has_ended:
            self._hung_up_at = time.monotonic()
        return not self._line.has_ended

    def _hear(self, frame: JsonObject) -> None:
        self._conversation.hear(frame, time.monotonic())
        if frame["t"] == "hello" and frame["in_group"] and self._group is not None:
            self._memory.rely_on(self._group)
        elif frame["t"] == "request" and not self._is_dead:
            self._server.accept(frame)
        elif frame["t"] == "progress" and frame["fields"]:
            self._show_progress(frame["fields"])

    def _show_progress(self, fields: JsonObject) -> None:
        try:
            with boundary("progress"):
                self._on_progress(fields)
        except Raised as raised:
            if isinstance(raised.error, StopChild):
                self._begin_end(raised.error.reason, Rung.ASKED)
                return
            logger.exception("on_progress failed; child %d is ended", self._launched.pid)
            self._force(Verdict.INTERNAL, f"on_progress failed: {raised.error}")

    def _read_log(self) -> bool:
        try:
            data = os.read(self._launched.log_fd, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        self._log.feed(data, time.monotonic())
        return bool(data)

    def _drain_log(self) -> None:
        with suppress(BlockingIOError):
            while data := os.read(self._launched.log_fd, _CHUNK_BYTES):
                self._log.feed(data, time.monotonic())

    def _redirect_log(self, path: Path, then: Callable[[], None]) -> None:
        self._drain_log()
        self._log.redirect(path)
        then()

    def _note_death(self) -> bool:
        self._is_dead = True
        return False

    def _read_inbox(self) -> bool:
        self._inbox.carry_out()
        return True

    def _send_reply(self, fields: JsonObject) -> None:
        self._conversation.replied(time.monotonic())
        try:
            self._line.send("reply", fields)
        except FrameError as error:
            failure = {"kind": "FrameError", "code": "TOO_LARGE", "message": str(error)}
            self._line.send("reply", {"id": fields["id"], "error": failure})

    # Ending.

    def _begin_end(self, reason: str, rung: Rung) -> None:
        if self._cancel_reason is None:
            self._cancel_reason = reason
        self._enter(rung)

    def _force(self, verdict: Verdict, detail: str, rung: Rung = Rung.KILLING) -> None:
        if self._forced is None:
            self._forced = verdict, detail
        self._enter(rung)

    def _enter(self, rung: Rung) -> None:
        if self._ladder.enter(rung, time.monotonic()):
            self._act(rung)

    def _act(self, rung: Rung) -> None:
        if rung is Rung.ASKED:
            self._line.send("cancel", {"reason": self._cancel_reason or ""})
            return
        if self._forced is None and self._cancel_reason is not None:
            self._forced = Verdict.CANCELED, self._cancel_reason
        if rung is Rung.DUMPING:
            self._launched.send(DUMP_STACKS)
        elif rung is Rung.TERMINATING:
            self._launched.send(signal.SIGTERM)
        elif self._ladder.kills == 1:
            self._launched.send(END_TREE)
        else:  # the keeper itself is stuck or stopped; the worker dies with it
            self._launched.send(signal.SIGKILL)
            kill_marked(self._marker)

    def _next_deadline(self) -> float:
        if self._ladder.next_at is not None:
            return self._ladder.next_at
        if self._hung_up_at is not None:
            return self._hung_up_at + self._spec.limits.leave_timeout_s
        return self._conversation.deadline()[0]

    def _check_deadlines(self, now: float) -> None:
        if self._is_dead or now < self._next_deadline():
            return
        if self._ladder.next_at is not None:
            rung = self._ladder.climb(now)
            if rung is not None:
                self._act(rung)
        elif self._hung_up_at is not None:
            wait_s = self._spec.limits.leave_timeout_s
            self._force(
                Verdict.CHILD_PROTOCOL, f"closed its channel, did not exit within {wait_s:g} s"
            )
        else:
            detail = self._conversation.deadline()[1]
            logger.warning("child %d: %s", self.pid, detail)
            self._force(Verdict.NO_PROGRESS, detail, Rung.DUMPING)

    def _check_memory(self, now: float) -> None:
        if self._is_dead:
            return
        excess = self._memory.look(self._launched.pid, now)
        if excess is not None:
            verdict, detail = excess
            logger.warning("child %d: %s", self.pid, detail)
            self._force(verdict, detail)

    # The end.

    def _conclude(self) -> ChildExit:
        status = self._launched.reap()
        report = self._launched.report()
        if report is None:  # the keeper was killed: nobody has looked after the tree
            kill_marked(self._marker)
            counts = self._group.counts() if self._group is not None else None
            wait_status = signal.SIGKILL if status is None else status
            report = KeeperReport(wait_status, 0, 0.0, 0.0, group=counts)
        if self._group is not None:
            self._group.remove()
        self._drain()
        self._on_end()
        if not self._server.close(self._spec.limits.serve_timeout_s):
            logger.warning("a request of child %d is still being carried out", self.pid)
        self._log.close()
        ended = self._describe(report)
        self._inbox.close()
        self._launched.close()
        return ended

    def _drain(self) -> None:
        """Take what the dead have said; the tree is gone, so this ends."""
        self._drain_log()
        if self._violation is not None:
            return
        try:
            while (frames := self._line.read()) is not None and not self._line.has_ended:
                for frame in frames:
                    self._hear(frame)
        except FrameError as error:
            self._violation = str(error)

    def _describe(self, report: KeeperReport) -> ChildExit:
        talk = self._conversation
        code = os.waitstatus_to_exitcode(report.wait_status)
        oom = explain_kill(read_oom_counts().since(self._oom_before), report.group)
        verdict, detail = judge(
            Observed(
                result=talk.result,
                error=talk.error,
                said_bye=talk.said_bye,
                violation=self._violation,
                cancel_reason=self._cancel_reason,
                forced=self._forced,
                exit_code=code if code >= 0 else None,
                signal=-code if code < 0 else None,
                host_oom_kills=oom.host,
                cgroup_oom_kills=oom.cgroup,
                entry_module=self._spec.entry.partition(":")[0],
            )
        )
        wall_s = time.monotonic() - self._started_at
        return ChildExit(
            verdict=verdict,
            result=talk.result if verdict is Verdict.SUCCEEDED else None,
            error=RemoteError.of(talk.error),
            cancel_reason=self._cancel_reason,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            usage=Usage(report.max_rss_bytes, report.user_s, report.system_s, wall_s),
            last_lines=self._log.last_lines,
            detail=detail,
            stack_dump=self._launched.stack_dump(),
            unkillable=report.unkillable,
        )


def orders_for(spec: ChildSpec, launched: Launched, group: Group | None) -> Orders:
    """What the child is told."""
    return Orders(
        entry=spec.entry,
        payload=dict(spec.payload),
        import_paths=tuple(str(path) for path in spec.import_paths),
        device=spec.device,
        limits=spec.limits,
        parent_pid=launched.parent_pid,
        dump_fd=launched.child_dump_fd,
        report_fd=launched.child_report_fd,
        group=tuple(group.to_json()) if group is not None else (),
    )
