"""Starts a child's keeper by exec and holds the parent's ends of everything it was given.

    Spawner (one thread, as long as the process) ── exec ──► keeper
         └─ the kernel ties the keeper's parent-death signal to this thread

Knows no frames: `Launched` is descriptors, a pid and a way to collect the end.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from runner.keeper import KeeperReport
from runner.pipes import Pipes, open_pipes

PYTHON_FLAGS = ("-I", "-u", "-B")
"""Isolated from the caller's Python settings, which is why these are no variables: unbuffered, no caches."""


@functools.cache
def process_spawner() -> ThreadPoolExecutor:
    """The one thread of this process that starts others: it lives as long as the process does."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


@dataclass(frozen=True, slots=True)
class Launched:
    """The parent's side of a started child."""

    pid: int
    """The keeper's: the root of the tree and the leader of its session."""
    parent_pid: int
    """Of the process whose death must end the tree."""
    death_fd: int
    """Becomes readable when the keeper has ended."""
    has_pidfd: bool
    connection: socket.socket
    log_fd: int
    dump_fd: int
    report_fd: int
    child_dump_fd: int
    child_report_fd: int
    reap: Callable[[], int | None]
    """Collect the ended keeper's wait status; None when it is somebody else's child."""

    def send(self, number: signal.Signals) -> None:
        """Send the keeper a signal; nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            if self.has_pidfd:
                signal.pidfd_send_signal(self.death_fd, number)
            else:  # our own child, not reaped yet: its pid is still its own
                os.kill(self.pid, number)

    def report(self) -> KeeperReport | None:
        """What the keeper wrote at its end."""
        return KeeperReport.parse(_read_all(self.report_fd))

    def stack_dump(self) -> str:
        """What the fault handler wrote."""
        return _read_all(self.dump_fd).decode("utf-8", "replace")

    def abandon(self) -> None:
        """End a child that nobody will mind."""
        self.send(signal.SIGKILL)  # it waits for its orders: there is no tree yet
        self.reap()
        self.close()

    def close(self) -> None:
        """Close every descriptor of this side."""
        self.connection.close()
        for fd in (self.death_fd, self.log_fd, self.dump_fd, self.report_fd):
            os.close(fd)


def launch_exec(work_dir: Path, environment: Mapping[str, str]) -> Launched:
    """Start the fixed bootstrap in a fresh interpreter.

    Raises:
        OSError: the process could not be started; nothing is left behind.
    """
    pipes = open_pipes()
    with ExitStack() as undo:
        undo.callback(pipes.close_all)
        started = process_spawner().submit(_start, work_dir, environment, pipes)
        process, death_fd, has_pidfd = started.result()
        undo.pop_all()
    pipes.close_childs()
    return Launched(
        pid=process.pid,
        parent_pid=os.getpid(),
        death_fd=death_fd,
        has_pidfd=has_pidfd,
        connection=pipes.connection,
        log_fd=pipes.log_read,
        dump_fd=pipes.dump_fd,
        report_fd=pipes.report_fd,
        child_dump_fd=pipes.dump_fd,
        child_report_fd=pipes.report_fd,
        reap=functools.partial(_reap, process),
    )


def _start(
    work_dir: Path, environment: Mapping[str, str], pipes: Pipes
) -> tuple[subprocess.Popen[bytes], int, bool]:
    connection_fd, log_fd, dump_fd, report_fd = pipes.for_child
    process = subprocess.Popen(
        [sys.executable, *PYTHON_FLAGS, "-m", "runner.child", "--fd", str(connection_fd)],
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        cwd=work_dir,
        env=dict(environment),
        close_fds=True,
        pass_fds=(connection_fd, dump_fd, report_fd),
        start_new_session=True,
    )
    return process, *watch_death(process.pid)


def watch_death(pid: int) -> tuple[int, bool]:
    """Open a descriptor that becomes readable when a child ends; says whether it is a pidfd.

    Without pidfds (old kernels, some sandboxes) a thread waits for the child and closes a pipe.
    """
    try:
        return os.pidfd_open(pid), True
    except OSError:
        return _watch_by_thread(pid), False


def _watch_by_thread(pid: int) -> int:
    read_fd, write_fd = os.pipe()

    def wait() -> None:
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.close(write_fd)

    threading.Thread(target=wait, name=f"death-watch-{pid}", daemon=True).start()
    return read_fd


def _reap(process: subprocess.Popen[bytes]) -> int | None:
    try:
        status = os.waitpid(process.pid, 0)[1]
    except ChildProcessError:
        return None
    # Popen must not wait for a process that is gone already.
    process.returncode = os.waitstatus_to_exitcode(status)
    return status


def _read_all(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)
